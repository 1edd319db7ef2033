"""Queries answered by particles, many of which are one for a while: errors say so."""

import itertools

import pytest
import torch

from ugmm.inference import Evidence, conditional, posterior, sample
from ugmm.nn import AutoregressiveUGMM


@pytest.fixture(scope="module")
def network():
    """Of ten pixels and three classes."""
    torch.manual_seed(0)
    network = AutoregressiveUGMM(10, 3, [12], "bernoulli")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.6 * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture(scope="module")
def evidence():
    """Of which the last half is known, so that all particles begin without any."""
    x = (torch.rand(40, 10, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    return Evidence(x, (torch.arange(10) >= 5).expand(40, -1))


@torch.no_grad()
def all_rows(network, row):
    """Every row that agrees with the evidence, and the probability of each with each class."""
    free = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))
    rows = torch.cat([free, row.x[:, 5:].expand(len(free), -1)], 1)
    scores = network.class_scores(rows).double()
    return rows, scores.flatten().softmax(0).view_as(scores)


def test_posteriors_keep_to_their_errors(network, evidence):
    found = posterior(network, evidence, n=512)
    exact = torch.stack([all_rows(network, evidence[i : i + 1])[1].sum(0) for i in range(40)])
    # Of what is rarer than one in 512, no draw need have met anything.
    z = (found.probs - exact) / (found.error + 1 / 512)
    assert not found.is_exact
    assert 0.3 < z.square().mean().sqrt() < 1.3
    assert (z.abs() < 3).double().mean() > 0.97


def test_moments_of_first_pixels_keep_to_their_errors(network, evidence):
    z = []
    for i in range(10):
        row = evidence[i : i + 1]
        rows, p = all_rows(network, row)
        found = conditional(network, [0, 1], row, n=512)
        z.append((found.mean[0] - p.sum(1) @ rows[:, :2].double()) / found.error[0])
    assert torch.stack(z).square().mean().sqrt() < 1.5


def test_samples_are_worth_as_many_as_there_are_lineages(network, evidence):
    found = sample(network, 200, evidence[:1])
    draws = network.draw(evidence[:1], 1024, torch.Generator().manual_seed(0))
    by_weights = 1 / (1024 * (2 * draws.log_weight).exp().sum())
    assert found.share[0] < by_weights
    assert found.methods == ("importance",)
    rows, p = all_rows(network, evidence[:1])
    off = found.features[0].double().mean(0) - p.sum(1) @ rows.double()
    assert (off.abs() < 4 * 0.5 / found.effective[0].sqrt()).all()
