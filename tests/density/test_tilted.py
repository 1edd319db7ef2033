"""The tilted Gaussian: normalised, and its draws its own."""

import numpy as np
import pytest
import torch
from scipy.integrate import cubature
from scipy.special import logsumexp
from tilted_cases import make_tilted

from ugmm.density import Ensemble


@torch.no_grad()
def integral(density, width=9.0):
    """Of p(x, y) over x, summed over y, by adaptive cubature over a box."""
    d = len(density.base.mean)

    def p(points):
        return density.class_scores(torch.from_numpy(points).float()).exp().sum(-1).numpy()

    low, high = np.full(d, -width), np.full(d, width)
    return cubature(p, low, high, rtol=1e-3, atol=1e-3).estimate


@pytest.mark.parametrize(("d", "label"), [(1, "onehot"), (1, "none"), (2, "onehot"), (2, "none")])
def test_the_density_integrates_to_one(d, label):
    density, _, _ = make_tilted(d, label=label)
    density.normalize(2**16)
    assert integral(density) == pytest.approx(1, abs=0.01)


def test_an_ensemble_is_the_mean_of_densities():
    members = [make_tilted(2, seed=seed)[0] for seed in range(3)]
    for member in members:
        member.normalize(2**14)
    x = torch.randn(5, 2)
    scores = np.stack([member.class_scores(x).detach().numpy() for member in members])
    expected = logsumexp(scores, axis=0) - np.log(3)
    ensemble = Ensemble(members)
    np.testing.assert_allclose(ensemble.class_scores(x).detach(), expected, rtol=1e-5, atol=1e-5)


def test_the_posterior_does_not_depend_on_the_base():
    density, x, y = make_tilted(3)
    density.normalize(2**10)
    torch.testing.assert_close(density.posterior(x), density.score.posterior(x))
    joint = density(x, y)
    expected = density.class_scores(x)[torch.arange(len(y)), y]
    torch.testing.assert_close(joint, expected)


def test_it_is_not_normalized_before_it_is():
    assert make_tilted(2)[0].class_scores(torch.zeros(1, 2)).isnan().all()


def energy_distance(a, b):
    """2 E|A - B| - E|A - A'| - E|B - B'| (Szekely and Rizzo), 0 for equal laws."""

    def mean(p, q):
        return torch.cdist(p, q).mean().item()

    return 2 * mean(a, b) - mean(a, a) - mean(b, b)


@torch.no_grad()
def by_rejection(density, n):
    """Exact draws: accept x ~ q with probability w(x) / (a bound on w)."""
    network = density.score.network.layers[-1]
    constants = network.logits.log_softmax(-1) - network.log_scale - 0.5 * np.log(2 * np.pi)
    bound = constants.logsumexp(-1).item() + np.log(2 * density.score.codes.shape[0])
    found = []
    while sum(map(len, found)) < n:
        x = density.proposal.sample(2**14)
        chance = torch.rand(len(x), dtype=torch.float64)
        found.append(x[chance.log() < density.log_weight(x) - bound])
    return torch.cat(found)[:n].float()


def test_draws_are_those_of_rejection():
    density, _, _ = make_tilted(2, min_scale=0.5)  # a lower bound on p / q: less is rejected
    torch.manual_seed(1)
    drawn, y = density.sample(1000)
    exact = by_rejection(density, 2000)
    # By permutation: how far two samples of the exact law are from each other.
    null = [
        energy_distance(both[:1000], both[1000:])
        for both in (exact[torch.randperm(2000)] for _ in range(40))
    ]
    assert energy_distance(drawn, exact[:1000]) < max(null) * 1.2
    frequency = torch.bincount(y, minlength=3) / len(y)
    expected = density.score.posterior(exact).mean(0)
    torch.testing.assert_close(frequency, expected, atol=0.05, rtol=0)
