"""Draws of the autoregressive network: by both roads the same, and distributed as it says."""

import itertools
import math

import pytest
import torch
from scipy.stats import binom, chisquare, kstest, norm

from ugmm import kernels
from ugmm.kernels import choose_draws
from ugmm.nn import AutoregressiveUGMM

SEEDS = 20


def make(n_features, n_classes=1, seed=0, head="bernoulli", **settings):
    """A network away from what is only so at the start."""
    torch.manual_seed(seed)
    network = AutoregressiveUGMM(n_features, n_classes, **{"hidden": [7], **settings}, head=head)
    network.init_from((torch.rand(200, n_features) < 0.3).float(), torch.arange(200) % n_classes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return network.eval()


def in_plain_torch(network):
    """The same network with the reference in place of every compiled loop."""
    settings = {"hidden": [network.prefix.out_features], "kernel": "reference"}
    n_features, n_classes = network.n_features, len(network.class_logits)
    plain = AutoregressiveUGMM(n_features, n_classes, **settings, head="bernoulli")
    plain.load_state_dict(network.state_dict())
    return plain.eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rejections_are_chance(pvalues):
    """Whether as many are below 5% as may be, in 999 of 1000 cases, if all are uniform."""
    return sum(p < 0.05 for p in pvalues) <= binom.ppf(0.999, len(pvalues), 0.05)


# Rows on both sides of whole vectors, tasks and chunks; widths likewise.
@pytest.mark.parametrize(
    ("n_features", "n_classes", "width", "n"),
    [(1, 1, 1, 1), (9, 3, 2, 17), (40, 2, 16, 33), (784, 1, 128, 20), (3, 1, 33, 2**12 + 5)],
)
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_the_compiled_loop_draws_what_plain_torch_does(n_features, n_classes, width, n, share):
    network = make(n_features, n_classes, hidden=[width])
    given = (torch.rand(n, math.ceil(share * n_features), generator=seeded()) < 0.3).float()
    assert choose_draws(network.start) is not None
    x, y = network.sample(n, generator=seeded(), given=given)
    x_plain, y_plain = in_plain_torch(network).sample(n, generator=seeded(), given=given)
    assert torch.equal(y, y_plain)
    # A number that is as good as equal to its probability may fall to either side.
    assert (x != x_plain).any(1).sum() <= 1
    assert torch.equal(x[:, : given.shape[1]], given)
    assert share == 1 or n < 20 or 0 < x[:, -1].mean() < 1


@pytest.mark.parametrize("start", [-1e30, -300.0, 200.0])
def test_sums_of_any_size_are_kept(start):
    """The logarithm of an empty prefix' sum may lie far from those of the components."""
    network = make(12, hidden=[20])
    with torch.no_grad():
        network.start.add_(start)
    x, _ = network.sample(500, generator=seeded())
    plain, _ = in_plain_torch(network).sample(500, generator=seeded())
    assert (x != plain).any(1).sum() <= 1


@pytest.mark.parametrize("loop", ["compiled", "plain"])
def test_a_network_of_nan_draws_nan(loop):
    network = make(5)
    with torch.no_grad():
        network.head.bias[2] = math.nan
    x, _ = (network if loop == "compiled" else in_plain_torch(network)).sample(4)
    assert ((x[:, :2] == 0) | (x[:, :2] == 1)).all()
    assert x[:, 2:].isnan().all()  # and whatever comes after


def test_threads_and_parts_change_nothing():
    network = make(20, 3, hidden=[40])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = network.sample(300, generator=seeded())
        torch.set_num_threads(2)
        two = network.sample(300, generator=seeded())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
    assert not torch.equal(one[0], network.sample(300, generator=seeded(1))[0])


def probabilities(network, given=()):
    """Of every row and label that begin so: rows (R, D), their probabilities (R, C)."""
    d = network.n_features
    values = [[float(value)] for value in given] + [[0.0, 1.0]] * (d - len(given))
    rows = torch.tensor(list(itertools.product(*values)))
    with torch.no_grad():
        p = network.class_scores(rows.to(network.start)).double().exp()
    return rows, p / p.sum()


@pytest.mark.parametrize("given", [(), (1, 0)])
@pytest.mark.parametrize("road", ["compiled", "layers", "float64"])
def test_draws_of_pixels_have_their_probabilities(road, given):
    """Against all rows and labels there are: chi-square at 5% over 20 seeds."""
    n, pvalues = 4000, []
    for seed in range(SEEDS):
        network = make(5, 2, seed, hidden=[7, 5] if road == "layers" else [7])
        network = network.double() if road == "float64" else network
        assert (choose_draws(network.start) is None) == (road == "float64")
        first = torch.tensor(given) if given else None
        x, y = network.sample(n, generator=seeded(seed), given=first)
        rows, p = probabilities(network, given)
        index = (x @ (2 ** torch.arange(5.0).flip(0)).to(x)).long()
        at = (rows @ (2 ** torch.arange(5.0).flip(0))).long()
        counts = torch.stack([torch.bincount(index[y == c], minlength=32)[at] for c in (0, 1)], 1)
        assert counts.sum() == n
        often = n * p > 5
        found, expected = counts[often].tolist(), (n * p[often]).tolist()
        if not often.all():
            found.append(n - sum(found))
            expected.append(n - sum(expected))
        pvalues.append(chisquare(found, expected).pvalue)
    assert rejections_are_chance(pvalues)


def test_many_pixels_have_uniform_transforms():
    """The randomised probability integral transforms of all pixels: Kolmogorov-Smirnov at 5%."""
    pvalues = []
    for seed in range(SEEDS):
        network = make(100, seed=seed, hidden=[24])
        x, y = network.sample(100, generator=seeded(seed))
        with torch.no_grad():
            p = network.conditionals(x, y).double().exp()
        below = torch.where(x == 1, 1 - p, 0)
        u = below + p * torch.rand(p.shape, generator=seeded(seed + SEEDS), dtype=p.dtype)
        pvalues.append(kstest(u.flatten(), "uniform").pvalue)
    assert rejections_are_chance(pvalues)


@torch.no_grad()
def transforms(network, x, y):
    """The probability integral transform of each feature: the head's distribution function."""
    log_weight, mean, scale = network.head.parts(network.features(x, y), x, None)
    cdf = norm.cdf((x[..., None] - mean) / scale)
    return (log_weight.exp().numpy() * cdf).sum(-1)


@pytest.mark.parametrize("k", [0, 2])
def test_real_features_have_uniform_transforms(k):
    """Kolmogorov-Smirnov at 5% over 20 seeds and all features that are drawn."""
    pvalues = []
    for seed in range(SEEDS):
        network = make(4, 2, seed, "gaussian", hidden=[7, 5]).double()
        given = torch.randn(500, k, generator=seeded(seed), dtype=torch.float64)
        x, y = network.sample(500, generator=seeded(seed), given=given)
        assert torch.equal(x[:, :k], given)
        u = transforms(network, x, y)
        pvalues += [kstest(u[:, d], "uniform").pvalue for d in range(k, 4)]
    assert rejections_are_chance(pvalues)


def test_classes_can_be_asked_for():
    network = make(2, 3)
    x, y = network.sample(6, torch.tensor([2, 2, 0, 1, 0, 2]))
    assert y.tolist() == [2, 2, 0, 1, 0, 2]
    assert x.shape == (6, 2)


def test_labels_are_drawn_given_what_is_given():
    """Of each row its own, against their exact posterior."""
    network = make(3, 3, head="gaussian", hidden=[6, 4]).train()  # dropout is not for draws
    network.prefix.dropout = 0.5
    given = torch.tensor([[0.3, -0.2], [1.5, 0.4]]).repeat_interleave(4000, 0)
    x, y = network.sample(8000, generator=seeded(), given=given)
    assert torch.equal(x[:, :2], given)
    labels, rows = torch.arange(3), given[::4000].repeat_interleave(3, 0)
    padded = torch.nn.functional.pad(rows, (0, 1))
    with torch.no_grad():
        joint = network.eval().prefix_log_prob(padded, labels.repeat(2))[:, 1].view(2, 3)
    posterior = joint.softmax(-1)
    assert (posterior[0] - posterior[1]).abs().max() > 0.05
    for half, expected in zip(y.view(2, -1), posterior, strict=True):
        counts = torch.bincount(half, minlength=3)
        assert chisquare(counts, 4000 * expected.double() / expected.double().sum()).pvalue > 1e-3


def test_kernel_type_and_device_choose_the_road(monkeypatch):
    start = torch.zeros(1, 2)
    assert choose_draws(start, "cpu") is choose_draws(start) is not None
    assert choose_draws(start, "reference") is choose_draws(start.double()) is None
    assert choose_draws(start.to("meta")) is None
    monkeypatch.setattr(kernels, "draw_binary", None)  # as without Numba
    assert choose_draws(start) is None
    assert make(3).sample(2)[0].shape == (2, 3)


@pytest.mark.parametrize("head", ["bernoulli", "gaussian"])
def test_draws_have_the_networks_type_and_device(head):
    network = make(3, 2, head=head)
    for there in (network.bfloat16(), network.to("meta")):
        x, y = there.sample(4)
        assert (x.shape, x.dtype, x.device) == ((4, 3), torch.bfloat16, there.start.device)
        assert (y.shape, y.dtype) == ((4,), torch.int64)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"given": torch.zeros(4)}, r"\(k,\) or \(2, k\) with k at most 3, got \(4,\)"),
        ({"given": torch.zeros(3, 2)}, r"got \(3, 2\)"),
        ({"given": torch.tensor(1.0)}, r"got \(\)"),
        ({"given": torch.tensor([math.nan])}, "a given feature is not finite"),
        ({"given": torch.tensor([0.5])}, "a feature is 0.5, and each must be 0 or 1"),
        ({"y": torch.zeros(1, dtype=torch.long)}, r"y must be 2 labels, got \(1,\)"),
    ],
)
def test_what_cannot_be_given_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(3).sample(2, **arguments)
