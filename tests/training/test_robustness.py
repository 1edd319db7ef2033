"""Metrics of turned and hidden digits, against ones worked out by other means."""

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from ugmm.baselines import MLP
from ugmm.config.compose import compose
from ugmm.data import MNISTDataModule, Split
from ugmm.data.images import CORRUPTIONS, corrupted, observed_pixels, rotated
from ugmm.errors import UserError
from ugmm.nn import UGMMNetwork
from ugmm.training import robustness


@pytest.fixture
def data(monkeypatch):
    """Random digits, and random clothes that are brighter."""
    torch.manual_seed(0)
    module = MNISTDataModule()
    for name, rows in (("train", 80), ("val", 10), ("test", 60)):
        module.splits[name] = Split(torch.rand(rows, 784), torch.arange(rows) % 10)
    monkeypatch.setattr(robustness, "foreign_images", lambda: torch.rand(50, 784) * 1.5)
    return module


def accuracy_and_nll(scores, y):
    posterior = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    right = posterior.argmax(1) == y
    return right.mean(), -np.log(posterior[np.arange(len(y)), y]).mean()


def test_metrics_of_a_network_of_mixtures(data):
    network = UGMMNetwork([784, 12, 10], norm="layer", dropout=0.5)
    results = robustness.score_robustness(network, data)
    assert not network.training
    x, y = data.splits["test"]
    observed = observed_pixels(x, 0.5, seed=50)
    filled = torch.where(observed, x, data.splits["train"].x.mean(0))
    with torch.no_grad():
        cases = {
            "rotated_30": network(rotated(x, (28, 28), 30)),
            "noisy": network(corrupted(x, (28, 28), "noisy", seed=0)),
            "faint": network(0.3 * x),
            "filled_50": network(filled),
            "missing_50": network.marginal_class_scores(x, observed),
        }
    for name, scores in cases.items():
        accuracy, nll = accuracy_and_nll(scores.double().numpy(), y.numpy())
        assert results[f"{name}/accuracy"] == pytest.approx(accuracy)
        assert results[f"{name}/nll"] == pytest.approx(nll, rel=1e-5)
        assert 0 <= results[f"{name}/ece"] <= 1
    kinds = {
        "rotated": robustness.ANGLES,
        "filled": robustness.MISSING,
        "missing": robustness.MISSING,
    }
    named = {f"{kind}_{size}" for kind, sizes in kinds.items() for size in sizes}
    assert {key.partition("/")[0] for key in results} == {*named, *CORRUPTIONS, "fashion"}


def test_the_area_is_mann_whitneys_statistic(data, monkeypatch):
    network = MLP([784, 10])
    clothes = robustness.foreign_images()
    monkeypatch.setattr(robustness, "foreign_images", lambda: clothes)
    results = robustness.score_robustness(network, data)
    with torch.no_grad():
        inside, outside = (network(x).double() for x in (data.splits["test"].x, clothes))
    for name, of in (
        ("posterior", lambda s: s.softmax(-1).amax(-1)),
        ("score", lambda s: s.logsumexp(-1)),
    ):
        pairs = len(inside) * len(outside)
        expected = mannwhitneyu(of(inside).numpy(), of(outside).numpy()).statistic / pairs
        assert results[f"fashion/auroc_{name}"] == pytest.approx(expected)


def test_an_mlp_leaves_nothing_out(data):
    results = robustness.score_robustness(MLP([784, 10]), data)
    assert not any(key.startswith("missing") for key in results)
    assert "filled_90/accuracy" in results


@pytest.mark.parametrize(
    ("experiment", "setting", "line"),
    [
        ("mnist_gen", "data.binarize=0", "task.label=none"),
        ("mnist_disc", "data.binarize=0", "grey pixels"),
    ],
)
def test_what_cannot_be_tested_is_refused(experiment, setting, line):
    with pytest.raises(UserError, match=line):
        compose(experiment, [setting, "data.robustness=true"])
