"""Metrics of classes of different sizes, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score
from sklearn.utils.class_weight import compute_class_weight

from ugmm.nn import UGMMNetwork
from ugmm.tasks import DiscriminativeTask
from ugmm.tasks.class_metrics import balanced_accuracy, balanced_weights, macro_f1


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("absent", [(), (2,), (2, 3)])
def test_they_are_scikit_learns(absent):
    """Of the absent classes the last is never predicted either."""
    rng = np.random.default_rng(0)
    y, found = rng.integers(4, size=200), rng.integers(4, size=200)
    y[np.isin(y, absent)] = 0
    if len(absent) == 2:
        found[found == 3] = 0
    counts = torch.from_numpy(confusion_matrix(y, found, labels=range(4)))
    assert balanced_accuracy(counts) == pytest.approx(balanced_accuracy_score(y, found))
    assert macro_f1(counts) == pytest.approx(f1_score(y, found, average="macro"))


def test_balanced_weights_are_scikit_learns():
    y = np.repeat([0, 1, 2], [5, 1, 14])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    weights = balanced_weights(torch.bincount(torch.from_numpy(y)))
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights[torch.from_numpy(y)].mean().item() == pytest.approx(1)
    assert balanced_weights(torch.tensor([4, 0])).isfinite().all()


def test_a_balanced_task_weighs_its_rows():
    torch.manual_seed(0)
    x, y = torch.randn(12, 4), torch.tensor([0] * 10 + [1] * 2)
    network = UGMMNetwork([4, 5, 2])
    task = DiscriminativeTask(network, 2, class_weights="balanced")
    with pytest.raises(RuntimeError, match="call prepare"):
        task.loss(x, y)
    task.prepare(x, y)
    posterior = network(x).log_softmax(-1)
    expected = -(posterior[:10, 0].mean() + posterior[10:, 1].mean()) / 2
    torch.testing.assert_close(task.loss(x, y), expected)
    assert "weights" not in task.state_dict()
