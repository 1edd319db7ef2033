"""Losses against SciPy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from ugmm.objectives import cross_entropy, negative_score


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 1.0])
def test_cross_entropy_with_label_smoothing(smoothing):
    rng = np.random.default_rng(0)
    scores, y = rng.normal(size=(20, 5)) * 30, rng.integers(5, size=20)
    targets = (1 - smoothing) * np.eye(5)[y] + smoothing / 5
    expected = -(targets * log_softmax(scores, axis=1)).sum(1).mean()
    loss = cross_entropy(torch.from_numpy(scores), torch.from_numpy(y), smoothing)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_multiply_a_rows_whole_loss(smoothing):
    rng = np.random.default_rng(0)
    scores, y = (
        torch.from_numpy(rng.normal(size=(20, 3))),
        torch.from_numpy(rng.integers(3, size=20)),
    )
    weights = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
    alone = [cross_entropy(scores[i : i + 1], y[i : i + 1], smoothing) for i in range(20)]
    expected = sum(weights[y[i]] * alone[i] for i in range(20)) / 20
    torch.testing.assert_close(cross_entropy(scores, y, smoothing, weights), expected)
    even = cross_entropy(scores, y, smoothing, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(even, cross_entropy(scores, y, smoothing))


def test_negative_score_is_minus_the_mean():
    assert negative_score(torch.tensor([1.0, 2.0, 6.0])).item() == -3
