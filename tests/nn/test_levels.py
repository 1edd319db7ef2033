"""The head of features that have levels, and the linear term of neighbours."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, logistic

from ugmm.nn import AutoregressiveUGMM
from ugmm.nn.autoregressive.heads import LevelsHead, Neighbours, make_head
from ugmm.nn.checks import check_levels


def spread(head, seed=0, by=1.0):
    """The head, away from where it begins."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return head


def every_level(head, g, dtype=torch.float64):
    """Log-probabilities of all levels, given the same scores (M,) for each feature: (L, D)."""
    d = len(head.bias)
    x = (torch.arange(head.levels, dtype=dtype) / (head.levels - 1))[:, None].expand(-1, d)
    return head(g.expand(head.levels, d, -1), x, None)


@pytest.mark.parametrize("levels", [3, 16, 256])
def test_probabilities_are_differences_of_the_distribution_function(levels):
    head = spread(LevelsHead(4, 3, 2, levels)).double()
    g = torch.randn(3, dtype=torch.float64)
    with torch.no_grad():
        found = every_level(head, g).numpy()
        read = (torch.einsum("m,dmk->dk", g, head.weight) + head.bias).numpy()
    weight, mean, scale = np.exp(read[:, :2]), read[:, 2:4], 1e-3 + np.exp(read[:, 4:])
    weight /= weight.sum(1, keepdims=True)
    borders = (2 * np.arange(levels - 1) + 1) / (levels - 1) - 1
    upto = (logistic.cdf(borders[:, None, None], mean, scale) * weight).sum(-1)
    expected = np.diff(upto, axis=0, prepend=0, append=1)
    np.testing.assert_allclose(np.exp(found), expected, atol=1e-12)
    np.testing.assert_allclose(np.exp(found).sum(0), 1, atol=1e-12)


@pytest.mark.parametrize("by", [0.5, 8.0])
def test_probabilities_sum_to_one_in_single_precision(by):
    """Also where scales are tiny or huge, and means far outside."""
    head = spread(LevelsHead(50, 3, 4), by=by)
    g = torch.randn(3)
    with torch.no_grad():
        found = every_level(head, g, torch.float32)
        exact = every_level(head.double(), g.double())
    assert found.isfinite().all()
    total = found.double().exp().sum(0)
    assert (total - 1).abs().max() < 1e-5
    likely = exact > -30
    assert (found - exact)[likely].abs().max() < 2e-3


def test_the_tails_are_the_outermost_levels():
    head = LevelsHead(1, 1, 1, 256)
    with torch.no_grad():
        head.bias[:] = torch.tensor([0.0, 3.0, -1.0])  # far above 1
        assert every_level(head, torch.zeros(1), torch.float32)[255, 0].exp() > 0.99
        head.bias[:] = torch.tensor([0.0, -3.0, -1.0])
        assert every_level(head, torch.zeros(1), torch.float32)[0, 0].exp() > 0.99


def test_gradients():
    torch.manual_seed(0)
    near = Neighbours((2, 2), 1, 6)
    head = spread(LevelsHead(4, 3, 2, 5, near), by=0.5).double()
    x = torch.randint(5, (3, 4)) / torch.tensor(4.0, dtype=torch.float64)
    g = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)
    learned = list(head.parameters())

    def log_probs(g, *_):
        return head(g, x, None)

    assert torch.autograd.gradcheck(log_probs, (g, *learned))


def test_a_network_sums_to_one():
    torch.manual_seed(0)
    network = AutoregressiveUGMM(
        4, 2, hidden=(5,), head="levels", levels=4, components=3, neighbours=1
    )
    network = spread(network, by=0.4).double().eval()
    rows = torch.tensor(list(itertools.product(range(4), repeat=4)), dtype=torch.float64) / 3
    with torch.no_grad():
        total = network.class_scores(rows).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("levels", [5, 256])
def test_draws_have_their_probabilities(levels):
    head = spread(LevelsHead(2, 3, 3, levels), by=0.7)
    g, n = torch.randn(3), 40_000
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        p = every_level(head.double(), g.double())[:, 1].exp().numpy()
        head = head.float()
        noise = [each[:, 0] for each in head.noise(n, 1, generator)]
        drawn = head.draw(g.expand(n, -1), torch.zeros(n, 2), 1, noise)
    check_levels(drawn, levels)
    counts = np.bincount((drawn * (levels - 1)).round().long().numpy(), minlength=levels)
    rare = p * n < 10
    observed = [*counts[~rare], counts[rare].sum()] if rare.any() else counts
    expected = [*p[~rare], p[rare].sum()] if rare.any() else p
    assert chisquare(observed, n * np.array(expected) / np.sum(expected)).pvalue > 1e-3


def test_a_start_from_data_knows_how_often_levels_are():
    head = LevelsHead(2, 3, 8)
    x = torch.zeros(1000, 2)
    x[:300, 1] = 1
    head.init_from(x)
    with torch.no_grad():
        p = every_level(head.double(), torch.zeros(3, dtype=torch.float64)).exp()
    assert p[0, 0] > 0.85
    assert 0.6 < p[0, 1] < 0.7
    assert 0.2 < p[255, 1] < 0.3


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("radius", [1, 2])
def test_neighbours_are_the_pixels_before_and_near(radius, shared):
    height, width = 4, 3
    near = spread(Neighbours((height, width), radius, 2, shared))
    assert near.weight.shape == ((12,) * (not shared) + (2 * radius * (radius + 1), 2))
    weight = near.weight.expand(12, -1, -1)
    x = torch.rand(5, height * width)
    expected = torch.zeros(5, height * width, 2)
    for i, j in itertools.product(range(height), range(width)):
        n = 0
        for up, across in itertools.product(range(-radius, 1), range(-radius, radius + 1)):
            if (up, across) >= (0, 0):
                continue
            row, column = i + up, j + across
            if row >= 0 and 0 <= column < width:
                value = 2 * x[:, row * width + column] - 1
                expected[:, i * width + j] += value[:, None] * weight[i * width + j, n]
            n += 1
        assert n == weight.shape[1]
    torch.testing.assert_close(near(x, None), expected)
    chosen = torch.tensor([0, 7, 11])
    torch.testing.assert_close(near(x, chosen), expected[:, chosen])


@pytest.mark.parametrize("head", ["bernoulli", "levels"])
def test_with_neighbours_too_nothing_that_follows_is_seen(head):
    torch.manual_seed(0)
    network = AutoregressiveUGMM(9, hidden=(5,), head=head, levels=3, neighbours=2)
    network = spread(network, by=0.3).double().eval()
    # In between the levels there is no density, so a pixel is moved from one to another.
    x, y = torch.randint(2, (4, 9)).double(), torch.zeros(4, dtype=torch.long)
    before = network.conditionals(x, y)
    for d in range(9):
        changed = x.clone()
        changed[:, d] = 1 - changed[:, d]
        after = network.conditionals(changed, y)
        assert torch.equal(after[:, :d], before[:, :d])
        assert d == 8 or not torch.equal(after[:, d + 1 :], before[:, d + 1 :])


def test_draws_of_a_network_have_its_probabilities():
    """All 27 rows of three features of three levels; and those given the first feature."""
    torch.manual_seed(0)
    network = AutoregressiveUGMM(3, hidden=(5,), head="levels", levels=3, components=2)
    network = spread(network, by=0.5).eval()
    rows = torch.tensor(list(itertools.product(range(3), repeat=3))) / 2
    with torch.no_grad():
        p = network(rows, torch.zeros(27, dtype=torch.long)).double().exp()
    generator = torch.Generator().manual_seed(0)
    for given, expected in ((None, p), (torch.tensor([0.5]), p.view(3, 9)[1] / p[9:18].sum())):
        drawn, _ = network.sample(20_000, generator=generator, given=given)
        number = (drawn * 2).round().long() @ torch.tensor([9, 3, 1])
        counts = torch.bincount(number, minlength=27).double()
        counts = counts if given is None else counts[9:18]
        assert counts.sum() == 20_000
        assert chisquare(counts, 20_000 * expected / expected.sum()).pvalue > 1e-3


def test_levels_are_checked():
    check_levels(torch.tensor([0, 17 / 255, 1, math.nan]), 256)
    check_levels(torch.tensor([0.3]), None)
    for wrong in (0.3, 1 + 1 / 255, -1 / 255):
        with pytest.raises(ValueError, match="each must be 0 to 255, divided by 255"):
            check_levels(torch.tensor([wrong]), 256)
    network = AutoregressiveUGMM(2, hidden=(3,), head="levels")
    with pytest.raises(ValueError, match=r"a feature is 0\.5, and each must be 0 to 255"):
        network(torch.tensor([[0.5, 0.0]]), torch.tensor([0]))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"levels": 2}, "levels must be at least 3, got 2; of two, use head='bernoulli'"),
        ({"neighbours": -1}, "neighbours=-1 with head='levels'"),
        ({"name": "gaussian", "neighbours": 1}, "neighbours=1 with head='gaussian'"),
        ({"n_features": 5, "neighbours": 1}, "name image_shape"),
        ({"n_features": 12, "neighbours": 1, "image_shape": (3, 2, 2)}, "of one channel"),
        ({"name": "poisson"}, "head must be 'gaussian', 'bernoulli' or 'levels'"),
    ],
)
def test_bad_heads(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_head(**{"name": "levels", "n_features": 4, "width": 3, **arguments})


def test_neighbours_need_a_fixed_order():
    with pytest.raises(ValueError, match="fixed order only"):
        AutoregressiveUGMM(4, head="levels", neighbours=1, order="random")


@pytest.mark.parametrize("settings", [{"neighbours": 1}, {"memory": "columns"}])
def test_what_is_of_lines_is_in_no_other_order(settings):
    network = AutoregressiveUGMM(4, hidden=(4,), head="levels", levels=3, **settings)
    order, (name,) = torch.tensor([3, 1, 0, 2]), settings
    with pytest.raises(ValueError, match=f"with {name}.* pixels are in one order only"):
        network.in_order(order)
    with pytest.raises(ValueError, match=f"with {name}.* pixels are in one order only"):
        network.conditionals(torch.zeros(2, 4), torch.zeros(2, dtype=torch.long), order=order)
