"""The autoregressive network: normalised and causal."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from ugmm.nn import AutoregressiveUGMM


def make(n_features, n_classes=1, seed=0, dtype=torch.float32, **settings):
    torch.manual_seed(seed)
    network = AutoregressiveUGMM(n_features, n_classes, **{"hidden": (7, 5), **settings})
    with torch.no_grad():  # away from what is only so at the start
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.to(dtype).eval()


def trained(network, x, y):
    """The network after 50 steps on these rows, of which it has learnt something."""
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    before = network(x, y).mean().item()
    for _ in range(50):
        optimizer.zero_grad()
        (-network.train()(x, y).mean()).backward()
        optimizer.step()
    assert network.eval()(x, y).mean().item() > before + 0.5
    return network


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_the_bernoulli_head_sums_to_one(n_classes, train):
    network = make(10, n_classes, head="bernoulli")
    if train:
        y = torch.arange(60) % n_classes
        network = trained(network, (torch.rand(60, 10) < 0.3 + 0.2 * y[:, None]).float(), y)
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=10)))
    with torch.no_grad():
        total = network.class_scores(states).double().exp().sum().item()
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_conditional_integrates_to_one(d, train):
    """Hence the joint too: the innermost integral is 1 for whatever comes before, and so on."""
    network = make(d, 2, dtype=torch.float64)
    if train:
        y = torch.arange(60) % 2
        x = torch.randn(60, d, dtype=torch.float64) @ torch.randn(d, d, dtype=torch.float64)
        network = trained(network, x + y[:, None], y)
    generator = np.random.default_rng(d)
    for y, k in itertools.product(range(2), range(d)):
        before = generator.normal(size=k) * 2
        rest = np.zeros(d - k - 1)

        def density(value, before=before, rest=rest, y=y, k=k):
            x = torch.from_numpy(np.concatenate([before, [value], rest]))[None]
            return network.conditionals(x, torch.tensor([y]))[0, k].exp().item()

        with torch.no_grad():
            total = quad(density, -60, 60, limit=400, points=np.linspace(-8, 8, 9))[0]
        assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("head", ["gaussian", "bernoulli"])
def test_a_conditional_looks_at_nothing_that_follows(head):
    network = make(5, head=head)
    x = torch.rand(4, 5).round().requires_grad_()
    y = torch.zeros(4, dtype=torch.long)
    for d in range(5):
        (gradient,) = torch.autograd.grad(network.conditionals(x, y)[:, d].sum(), x)
        assert (gradient[:, d + 1 :] == 0).all()
        assert d == 0 or (gradient[:, :d] != 0).any()


@pytest.mark.parametrize(
    ("head", "later"), [("gaussian", math.nan), ("gaussian", math.inf), ("bernoulli", math.nan)]
)
def test_a_conditional_knows_nothing_of_a_missing_value_that_follows(head, later):
    network = make(5, head=head, dtype=torch.float64)
    x = torch.rand(4, 5, dtype=torch.float64).round()
    y = torch.zeros(4, dtype=torch.long)
    whole = network.conditionals(x, y)
    gradients = torch.autograd.grad(
        whole[:, :3].sum(), list(network.parameters()), allow_unused=True
    )
    spoilt = x.clone()
    spoilt[:, 3] = later
    found = network.conditionals(spoilt, y)
    torch.testing.assert_close(found[:, :3], whole[:, :3])
    assert found[:, 3:].isnan().all()
    again = torch.autograd.grad(found[:, :3].sum(), list(network.parameters()), allow_unused=True)
    for one, other in zip(gradients, again, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other)


def test_prefixes_are_marginals():
    network = make(3, 2, dtype=torch.float64)
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    prefixes = network.prefix_log_prob(x, y)
    torch.testing.assert_close(prefixes[:, -1], network(x, y))
    torch.testing.assert_close(prefixes[:, 0], network.prefix_log_prob(x * 1.0, y)[:, 0])
    changed = x.clone()
    changed[:, 2] += 1
    torch.testing.assert_close(prefixes[:, :2], network.prefix_log_prob(changed, y)[:, :2])


def test_scores_classes_and_density_fit_together():
    network = make(4, 3)
    x = torch.randn(2, 5, 4)
    scores = network.class_scores(x)
    assert scores.shape == (2, 5, 3)
    for c in range(3):
        torch.testing.assert_close(scores[..., c], network(x, torch.full((2, 5), c)))
    torch.testing.assert_close(network.log_prob(x), scores.logsumexp(-1))


def test_random_positions_estimate_the_whole():
    network = make(6, head="bernoulli", positions=2)
    x, y = torch.rand(3, 6).round(), torch.zeros(3, dtype=torch.long)
    with torch.no_grad():
        whole = network(x, y)
        network.train()
        torch.manual_seed(0)
        draws = torch.stack([network(x, y) for _ in range(600)])
    error = draws.std(0) / 600**0.5
    assert ((draws.mean(0) - whole).abs() < 4 * error).all()


def test_dropout_leaves_the_empty_prefix_a_score():
    network = make(3, dropout=0.9, hidden=(50,)).train()
    x = torch.randn(8, 3)
    values = network(x, torch.zeros(8, dtype=torch.long))
    assert values.isfinite().all()
    values.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"n_features": 0}, "n_features must be at least 1, got 0"),
        ({"n_classes": 0}, "n_classes must be at least 1"),
        ({"components": 0}, "components must be at least 1"),
        ({"positions": 0}, "positions must be at least 1"),
        ({"hidden": ()}, "at least one hidden width"),
        ({"hidden": (3, 0)}, "inputs and outputs, got 3, 0"),
        ({"head": "poisson"}, "head must be"),
    ],
)
def test_bad_arguments(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        AutoregressiveUGMM(**{"n_features": 3, **arguments})
