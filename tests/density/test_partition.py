"""Estimates of Z against closed forms, and their errors against what they are off by."""

import math

import numpy as np
import pytest
import torch

from ugmm.density import Estimate, Gaussian, GaussianMixture, by_importance, by_sobol

SLOPE = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
LOG_Z = 0.5 * SLOPE.square().sum().item()  # of exp(slope . x) N(x; 0, I)


@pytest.fixture
def proposal():
    mixture = GaussianMixture(Gaussian(3), 1)
    mixture.parts[1].mean.copy_(SLOPE)
    return mixture


@pytest.fixture
def log_weight(proposal):
    base = proposal.parts[0]
    return lambda x: x @ SLOPE + base.log_prob(x) - proposal.log_prob(x)


@pytest.mark.parametrize("estimate", [by_importance, by_sobol])
def test_estimates_find_a_known_partition_function(estimate, log_weight, proposal):
    found = [estimate(log_weight, proposal, 2**11, seed) for seed in range(40)]
    off = np.array([(e.value - LOG_Z) / e.error for e in found])
    assert 0.8 < np.sqrt((off**2).mean()) < 1.3  # errors are what they claim
    assert all(abs(e.value - LOG_Z) < 0.1 for e in found)
    assert all(0.5 < e.effective <= 1 for e in found)


def test_what_parts_differ_by_adds_no_error():
    mixture = GaussianMixture(Gaussian(1), 1)
    mixture.parts[1].mean.fill_(20)

    def log_weight(x):  # about 1 by one part and 10 by the other, half of the draws each
        return (0.1 * x.squeeze(1).sin() + (x.squeeze(1) > 10) * math.log(10)).double()

    found = [by_importance(log_weight, mixture, 2**9, seed) for seed in range(60)]
    values, errors = (np.array([getattr(e, name) for e in found]) for name in ("value", "error"))
    assert 0.8 < values.std() / np.sqrt((errors**2).mean()) < 1.25
    assert errors.max() < 0.01  # of independent draws it is 0.04
    with pytest.raises(ValueError, match="n must be at least 2"):
        by_importance(log_weight, mixture, 1)


def test_sobol_points_are_the_better_ones(log_weight, proposal):
    plain, even = (e(log_weight, proposal, 2**14) for e in (by_importance, by_sobol))
    assert even.error < plain.error / 2
    assert plain.agrees_with(even)


def test_an_estimate_repeats_itself(log_weight, proposal):
    torch.manual_seed(0)
    first = by_importance(log_weight, proposal, 1000, 3)
    torch.manual_seed(1)
    assert by_importance(log_weight, proposal, 1000, 3) == first


def test_a_missed_spike_shows_in_the_effective_draws(proposal):
    found = by_importance(lambda x: -(x.square().sum(-1) * 1e4), proposal, 2**12)
    assert found.effective < 0.01


@pytest.mark.parametrize(
    ("other", "agree"),
    [((1.3, 0.1), True), ((1.5, 0.1), True), ((2.0, 0.1), False), ((math.nan, 0.1), False)],
)
def test_agreement(other, agree):
    assert Estimate(1.0, 0.1, 0.5).agrees_with(Estimate(*other, 0.5)) is agree
