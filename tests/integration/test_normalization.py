"""Fifty tilted Gaussians, drawn and trained: each integrates to one, by another integrator."""

import numpy as np
import pytest
import torch
from scipy.integrate import cubature

from ugmm.density import TiltedGaussian
from ugmm.nn import JointScore, UGMMNetwork
from ugmm.objectives import RankingNCE
from ugmm.tasks import GenerativeTask


def make(d, seed, trained):
    torch.manual_seed(seed)
    network = UGMMNetwork([d + 2, 8, 4, 1], min_scale=0.2)
    density = TiltedGaussian(JointScore(network, 2), d, 2)
    y = torch.arange(80) % 2
    x = torch.randn(80, d) @ torch.randn(d, d) * 0.5 + y[:, None] - 0.5
    task = GenerativeTask(density, 2, RankingNCE(256))
    density.init_from(x, y)
    task.prepare(x, y)
    if trained:
        optimizer = torch.optim.Adam(density.parameters(), 0.03)
        for _ in range(100):
            optimizer.zero_grad()
            task.loss(x, y).backward()
            optimizer.step()
    return density.eval()


@torch.no_grad()
def integral(density):
    """Over the base's own coordinates, in which it is the standard normal."""
    base = density.base
    d = len(base.mean)

    def p(points):
        z = torch.from_numpy(points)
        log_p = density.class_scores(base.colour(z).float()).double().logsumexp(-1)
        return (log_p + base.tril.diagonal().log().sum()).exp().numpy()

    limit = np.full(d, 6.0)
    # Classes can be narrow: regions are split at their means, so that none is overlooked.
    means = [base.whiten(part.mean).numpy() for part in density.proposal.parts[1:]]
    # In four dimensions a product of one-dimensional rules takes 15 million points here.
    rule = "gk21" if d < 4 else "genz-malik"
    found = cubature(p, -limit, limit, rule=rule, rtol=5e-3, atol=5e-3, points=means)
    assert found.status == "converged"
    return found.estimate


def check(d, seeds):
    for seed in seeds:
        density = make(d, seed, trained=seed % 2 == 1)
        estimate = density.normalize(2**19)
        assert estimate.error < 3e-3
        assert integral(density) == pytest.approx(1, abs=0.01)


# 50 in all, every second one trained.
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_the_density_integrates_to_one(d):
    check(d, range(2))


@pytest.mark.slow
@pytest.mark.parametrize(("d", "networks"), [(1, 18), (2, 16), (3, 10), (4, 6)])
def test_many_densities_integrate_to_one(d, networks):
    check(d, range(2, networks))
