"""Losses against SciPy."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax

from ugmm.nn import GaussianPredictive, QuantilePredictive
from ugmm.objectives import (
    NegativeLogDensity,
    Pinball,
    RankedProbability,
    cross_entropy,
    negative_score,
)


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


def test_regression_losses_are_means_over_rows():
    rng = np.random.default_rng(0)
    y, mean, scale = rng.normal(size=20), rng.normal(size=20), rng.uniform(0.5, 2, size=20)
    gaussian = GaussianPredictive(torch.from_numpy(mean), torch.from_numpy(scale))
    loss = NegativeLogDensity().of_predictive(gaussian, torch.from_numpy(y))
    assert loss.item() == pytest.approx(-stats.norm(mean, scale).logpdf(y).mean(), rel=1e-12)
    # Of T. Gneiting and A. Raftery (2007), section 4.2.
    z = (y - mean) / scale
    crps = scale * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    loss = RankedProbability().of_predictive(gaussian, torch.from_numpy(y))
    assert loss.item() == pytest.approx(crps.mean(), rel=1e-12)
    median = QuantilePredictive((0.25, 0.5), torch.from_numpy(np.stack([mean - 9, mean], 1)))
    loss = Pinball().of_predictive(median, torch.from_numpy(y))
    above = y - mean + 9
    expected = 0.5 * np.maximum(0.25 * above, -0.75 * above).mean() + 0.25 * abs(y - mean).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-12)
