"""Beam search in autoregressive networks: against all completions there are."""

import itertools

import pytest
import torch

from ugmm.nn import AutoregressiveUGMM, Evidence


def make(n_features, n_classes=1, **settings):
    torch.manual_seed(0)
    network = AutoregressiveUGMM(n_features, n_classes, **{"head": "bernoulli", **settings})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return network.eval()


def random_evidence(n, n_features, n_classes):
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(n, n_features, generator=generator) < 0.5).float()
    known = torch.rand(n, n_features, generator=generator) < 0.5
    known[0], known[1] = False, True
    return Evidence(x, known, torch.randint(-1, n_classes, (n,), generator=generator))


def best_of_all(network, evidence):
    """The best log p(x, y) of each row's completions, all of them tried: (n,)."""
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=network.n_features)))
    scores = network.class_scores(rows).double()
    best = []
    for x, known, y in zip(evidence.x, evidence.known, evidence.y, strict=True):
        agreeing = scores[((rows == x) | ~known).all(1)]
        best.append((agreeing if y < 0 else agreeing[:, y]).max())
    return torch.stack(best)


@torch.no_grad()
@pytest.mark.parametrize("hidden", [[8], [8, 5]])
def test_a_wide_beam_finds_the_mode(hidden):
    network = make(6, 3, hidden=hidden)
    evidence = random_evidence(12, 6, 3)
    found = network.beam(evidence, 3 * 64)
    assert torch.equal(found.x.where(evidence.known, 0), evidence.x)
    assert ((evidence.y == -1) | (found.y == evidence.y)).all()
    assert torch.allclose(found.log_prob, network(found.x, found.y).double(), atol=1e-5)
    assert torch.allclose(found.log_prob, best_of_all(network, evidence), atol=1e-5)


@torch.no_grad()
def test_a_beam_of_one_is_greedy():
    network = make(9, hidden=[8])
    evidence = Evidence(torch.tensor([[1.0, 0.0] + [torch.nan] * 7]))
    x = evidence.x.clone()
    for d in range(2, 9):
        options = x.repeat(2, 1)
        options[1, d] = 1
        scores = network.prefix_log_prob(options, torch.zeros(2, dtype=torch.long))[:, d]
        x = options[scores.argmax()][None]
    assert torch.equal(network.beam(evidence, 1).x, x)
    assert network.beam(evidence, 64).log_prob > network.beam(evidence, 1).log_prob - 1e-6


@torch.no_grad()
def test_rows_are_searched_one_by_one():
    network = make(7, 2, hidden=[8])
    evidence = random_evidence(5, 7, 2)
    together = network.beam(evidence, 4)
    for i in range(5):
        alone = network.beam(evidence[i : i + 1], 4)
        assert torch.equal(alone.x[0], together.x[i])
        assert torch.allclose(alone.log_prob[0], together.log_prob[i])
    assert network.beam(evidence[:0], 4).x.shape == (0, 7)


@pytest.mark.parametrize(
    ("settings", "width", "complaint"),
    [
        ({"head": "gaussian"}, 1, "a beam search is for binary features"),
        ({}, 0, "width must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_searched_is_refused(settings, width, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(3, **settings).beam(Evidence.nothing(3), width)
