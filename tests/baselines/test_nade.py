"""NADE: its formula, and that it is normalised and causal."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from ugmm.baselines import NADE
from ugmm.nn.autoregressive.heads import Neighbours


def make(n_features, seed=0, **settings):
    torch.manual_seed(seed)
    network = NADE(n_features, **settings).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("n_features", [1, 2, 5, 12, 17])
def test_features_are_rectified_sums_of_the_prefix(n_features):
    network = make(n_features, n_classes=2, hidden=(6, 4))
    x, y = torch.rand(3, n_features, dtype=torch.float64), torch.tensor([0, 1, 1])
    expected = []
    for d in range(n_features):
        h = network.start[y] + x[:, :d] @ network.weight[:, :d].T
        h = F.relu(network.norms[0](h))
        expected.append(F.relu(network.norms[1](network.layers[0](h))))
    expected = torch.stack(expected, 1)
    torch.testing.assert_close(network.features(x, y), expected)
    chosen = torch.arange(n_features)[::2]
    torch.testing.assert_close(network.features(x, y, chosen), expected[:, chosen])


@pytest.mark.parametrize("hidden", [(), (6,), (6, 4)])
@pytest.mark.parametrize(("head", "levels"), [("bernoulli", 2), ("levels", 3)])
def test_it_sums_to_one(hidden, head, levels):
    more = {} if head == "bernoulli" else {"levels": levels}
    network = make(4, n_classes=2, hidden=hidden, head=head, neighbours=1, **more)
    rows = torch.tensor(list(itertools.product(range(levels), repeat=4))).double() / (levels - 1)
    with torch.no_grad():
        assert network.class_scores(rows).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_without_layers_it_is_logistic_regression_of_neighbours():
    network = make(9, hidden=(), head="bernoulli", neighbours=1)
    near = network.head.near
    assert isinstance(near, Neighbours)
    x, y = torch.rand(5, 9).round().double(), torch.zeros(5, dtype=torch.long)
    p = (network.head.bias + near(x, None).squeeze(-1)).sigmoid()
    expected = torch.where(x == 1, p, 1 - p).log()
    torch.testing.assert_close(network.conditionals(x, y), expected)


def test_random_positions_estimate_the_whole():
    network = make(6, head="bernoulli", hidden=(3,), positions=2)
    x, y = torch.rand(3, 6).round().double(), torch.zeros(3, dtype=torch.long)
    with torch.no_grad():
        whole = network(x, y)
        network.train()
        torch.manual_seed(0)
        draws = torch.stack([network(x, y) for _ in range(600)])
    error = draws.std(0) / 600**0.5
    assert ((draws.mean(0) - whole).abs() < 4 * error).all()


def test_draws_have_the_probabilities():
    network = make(4, n_classes=2, hidden=(5,), head="bernoulli", neighbours=1)
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64)
    with torch.no_grad():
        p = network.class_scores(rows).exp()
    x, y = network.sample(20_000, generator=torch.Generator().manual_seed(0))
    number = (x.long() @ torch.tensor([8, 4, 2, 1])) * 2 + y
    found = torch.bincount(number, minlength=32).view(16, 2) / 20_000
    assert (found - p).abs().max() < 4 * (p * (1 - p) / 20_000).sqrt().max()


def test_what_is_refused():
    network = make(4, hidden=(3,))
    with pytest.raises(ValueError, match="order of a NADE's features is fixed"):
        network.conditionals(torch.zeros(1, 4).double(), torch.tensor([0]), order=torch.arange(4))
    with pytest.raises(ValueError, match="width must be at least 1"):
        NADE(4, hidden=(0,))
