"""The most probable completion: against closed forms, dense grids and all there is."""

import itertools
import math

import pytest
import torch
from exact_densities import BinaryTable, GaussianPerClass, random_gaussians
from torch.nn.functional import one_hot

from ugmm.baselines.bernoulli import BernoulliMixture
from ugmm.baselines.gaussian_classes import GaussianClasses
from ugmm.density import Ensemble, TiltedGaussian
from ugmm.inference import Evidence, mpe
from ugmm.inference.modes.newton import newton
from ugmm.nn import AutoregressiveUGMM, JointScore, UGMMCircuit, UGMMNetwork


def random_tilted(n_features, n_classes=1, seed=0, layers=(6, 4), log_scale=-1.0):
    """A tilted Gaussian with random parameters, under a base with standard deviations of 1.5."""
    generator = torch.Generator().manual_seed(seed)
    label = "onehot" if n_classes > 1 else "none"
    width = n_features + (n_classes if n_classes > 1 else 0)
    network = UGMMNetwork([width, *layers, 1], min_scale=0.1)
    with torch.no_grad():
        for number, layer in enumerate(network.layers):
            for parameter, mean, deviation in (
                (layer.loc, -2.0 if number else 0.0, 1.5),
                (layer.raw_scale, log_scale, 0.5),
                (layer.logits, 0.0, 1.0),
            ):
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(mean + deviation * noise)
    density = TiltedGaussian(JointScore(network, n_classes, label), n_features, n_classes)
    for part in density.proposal.parts:
        part.tril.copy_(1.5 * torch.eye(n_features))
    density.eval().normalize(2**10)
    return density


def ways_up(density, mode, free):
    """The gradient at the modes found, in what is free."""
    x = mode.x.double().requires_grad_()
    (slope,) = torch.autograd.grad(density.double()(x, mode.y).sum(), x)
    return slope[free].abs().max()


def test_of_a_gaussian_it_is_the_conditional_mean():
    density = random_gaussians(5, 1, seed=1)
    known = torch.rand(7, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    evidence = Evidence(torch.linspace(-1, 1, 35).reshape(7, 5), known)
    mode = mpe(density, evidence, starts=3)
    for row in range(7):
        one = evidence[row : row + 1]
        mean, _ = density.conditionals(one)
        torch.testing.assert_close(
            mode.x[row][~one.known[0]].double(), mean[0], rtol=1e-5, atol=1e-5
        )
    assert torch.equal(mode.x[evidence.known], evidence.x[evidence.known])
    exact = density.double().class_scores(mode.x.double())[:, 0]
    torch.testing.assert_close(mode.log_prob, exact, rtol=0, atol=1e-5)
    assert (mode.agreed[~mode.is_exact] == 3).all()


@pytest.mark.parametrize("d", [5, 70])  # one block, and two
def test_newton_steps_end_at_the_top_and_leave_alone_what_is_known(d):
    density = random_gaussians(d, 1, seed=1)
    density.covariances += 0.1 * d * torch.eye(d)
    x = density.means + torch.linspace(-1, 1, 2 * d).reshape(2, d)
    free = torch.ones(2, d, dtype=torch.bool)
    free[1, ::2] = False
    ends, value = newton(density, x, torch.zeros(2, dtype=torch.long), free, torch.ones_like(x))
    assert torch.equal(ends[~free], x[~free])
    known = Evidence(x[1:], ~free[1:])
    best = torch.cat([density.means[0], density.conditionals(known)[0][0]])
    torch.testing.assert_close(ends[free], best, rtol=0, atol=1e-2)
    torch.testing.assert_close(value, density.class_scores(ends)[:, 0])


def test_of_far_gaussians_it_is_the_highest_and_of_a_known_label_its_own():
    means = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
    covariances = torch.stack([torch.eye(2) * size for size in (1.0, 0.2, 0.5)])
    density = GaussianPerClass(means, covariances).eval()
    nothing = torch.full((4, 2), math.nan)
    mode = mpe(density, Evidence(nothing, y=torch.tensor([-1, 0, 1, 2])), starts=6)
    assert mode.y.tolist() == [1, 0, 1, 2]
    torch.testing.assert_close(mode.x, means[mode.y], rtol=0, atol=1e-5)


@torch.no_grad()
def best_on_grid(density, evidence, points=161):
    """Of a dense grid, for each row; two features at most are free."""
    axis, best = torch.linspace(-5, 5, points), []
    for x, known in zip(evidence.x, evidence.known, strict=True):
        free = (~known).nonzero().squeeze(1)
        grid = torch.cartesian_prod(*[axis] * len(free)).reshape(-1, len(free))
        rows = x.repeat(len(grid), 1)
        rows[:, free] = grid
        best.append(density.class_scores(rows).double().max())
    return torch.stack(best)


@pytest.mark.parametrize(
    ("d", "n_classes", "log_scale"), [(1, 1, -2.3), (2, 2, -2.3), (3, 3, -1.0)]
)
def test_no_point_of_a_dense_grid_is_better(d, n_classes, log_scale):
    density = random_tilted(d, n_classes, seed=d, log_scale=log_scale)
    known = torch.zeros(3, d, dtype=torch.bool)
    known[:, 2:] = True
    known[2, :1] = d > 1  # each row has a mask of its own
    evidence = Evidence(torch.linspace(-1, 1, 3 * d).reshape(3, d), known)
    mode = mpe(density, evidence)
    assert (mode.log_prob >= best_on_grid(density, evidence) - 1e-4).all()
    assert not mode.is_exact.any()


@pytest.mark.filterwarnings("ignore:the fused CPU kernel")
def test_a_deep_density_of_another_kind_is_climbed_to_the_top():
    torch.manual_seed(0)
    circuit, autoregressive = UGMMCircuit(3, 2), AutoregressiveUGMM(3, 2, hidden=(6, 4))
    gaussians = GaussianClasses(3, 2, 1, lambda *_: None, 0)
    gaussians.means.copy_(torch.randn(2, 1, 3))
    known = torch.tensor([[False, True, False], [False, False, False]])
    evidence = Evidence(torch.randn(2, 3), known)
    for density in (circuit, autoregressive, Ensemble([random_tilted(3, 2), gaussians])):
        mode = mpe(density.eval(), evidence, starts=4)
        assert ways_up(density, mode, ~known) < 1e-3
        assert mode.log_prob.isfinite().all()


@pytest.mark.parametrize("known_label", [False, True])
def test_few_binary_features_are_enumerated(known_label):
    density = BinaryTable(6, 3).eval()
    known = torch.rand(9, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    known[0], known[1] = True, False
    y = torch.arange(9) % 3 if known_label else None
    evidence = Evidence((torch.randn(9, 6) > 0).float(), known, y)
    mode = mpe(density, evidence)
    for row in range(9):
        best = density.joint(evidence[row]).max()
        assert mode.log_prob[row] == best
    assert mode.is_exact.all()
    scores = density.class_scores(mode.x.double()).gather(1, mode.y[:, None]).squeeze(1)
    torch.testing.assert_close(scores, mode.log_prob)


def binary_mixture(d, n_classes=2):
    torch.manual_seed(0)
    return BernoulliMixture(d, n_classes, components=5).eval()


def binary_network(d, n_classes=2):
    torch.manual_seed(0)
    network = AutoregressiveUGMM(d, n_classes, hidden=(8,), head="bernoulli").eval()
    network.head.weight.data.normal_(0, 1)
    return network


@torch.no_grad()
@pytest.mark.parametrize("make", [binary_mixture, binary_network])
@pytest.mark.parametrize("first", [True, False])
def test_a_search_among_binary_features_finds_what_enumeration_finds(make, first):
    density = make(14)
    known = torch.zeros(1, 14, dtype=torch.bool)
    known[0, 0 if first else -1] = True
    bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=13)))
    ones = torch.ones(len(bits), 1)
    rows = torch.cat([ones, bits] if first else [bits, ones], 1)
    mode = mpe(density, Evidence(torch.ones(1, 14), known), starts=8)
    assert not mode.is_exact
    assert float(mode.log_prob) == pytest.approx(float(density.class_scores(rows).max()), abs=1e-4)


@torch.no_grad()
def test_a_search_ends_no_lower_than_any_of_its_starts():
    density, known = binary_network(60), torch.zeros(3, 60, dtype=torch.bool)
    known[0, :30], known[1, 30:] = True, True
    x = (torch.rand(3, 60, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    evidence = Evidence(x, known)
    alone, rows = mpe(density, evidence, starts=1), mpe(density, evidence, starts=20).x
    assert (alone.log_prob >= density.beam(evidence, 64).log_prob - 1e-4).all()
    given = mpe(density, evidence, starts=1, rows=torch.cat([torch.zeros(40, 60), rows]))
    scores = density.class_scores(rows).max(1).values
    assert (given.log_prob >= torch.maximum(alone.log_prob, scores.double()) - 1e-4).all()


def coded(density, n_categories):
    """The code of a category in the last features, as a choice."""
    features = range(density.n_features - n_categories, density.n_features)
    return list(features), torch.eye(n_categories) * 2 - 0.5


def test_a_category_is_one_of_its_codes_and_the_best():
    density = random_tilted(5, 2, seed=3)
    choice = coded(density, 3)
    known = torch.zeros(3, 5, dtype=torch.bool)
    known[1, 0] = True
    known[2, :3] = True  # two features and the first cell of the code: the category is not 0
    x = torch.tensor([0.3, -0.2, -0.5, 0.0, 0.0]).repeat(3, 1)
    mode = mpe(density, Evidence(x, known), choices=[choice], starts=8)
    each = []
    for code in choice[1]:
        fixed, here = x.clone(), known.clone()
        fixed[:, 2:], here[:, 2:] = code, True
        each.append(mpe(density, Evidence(fixed, here), starts=8).log_prob)
    each = torch.stack(each, 1)
    each[2, 0] = -math.inf
    torch.testing.assert_close(mode.log_prob, each.max(1).values, rtol=0, atol=1e-3)
    torch.testing.assert_close(mode.x[:, 2:], choice[1][each.argmax(1)])
    assert mode.is_exact.tolist() == [False, False, True]


def test_a_larger_search_says_what_was_missed():
    density = random_tilted(2, 1, seed=1, log_scale=-2.3)
    evidence = Evidence.nothing(2)
    small, checked = mpe(density, evidence, starts=1), mpe(density, evidence, starts=1, check=True)
    assert small.gap is None
    assert checked.gap >= 0
    torch.testing.assert_close(checked.log_prob, small.log_prob + checked.gap)
    assert torch.equal(mpe(density, evidence, starts=1).x, small.x)  # by seed


def test_all_known_leaves_the_label_and_no_rows_none():
    density = random_tilted(3, 3)
    x = torch.randn(4, 3)
    mode = mpe(density, Evidence(x, y=torch.tensor([-1, -1, 2, -1])))
    scores = density.class_scores(x)
    expected = scores.argmax(1)
    expected[2] = 2
    assert torch.equal(mode.y, expected)
    assert mode.is_exact.all()
    assert mpe(density, Evidence(x[:0])).x.shape == (0, 3)


def test_evidence_far_from_everything_gives_numbers():
    density = random_tilted(2, 2)
    mode = mpe(density, Evidence(torch.tensor([[1e6, math.nan], [-1e15, math.nan]])), starts=2)
    assert not mode.log_prob.isnan().any()
    assert mode.x.isfinite().all()


@pytest.mark.parametrize(
    ("make", "given", "options", "message"),
    [
        (lambda: UGMMNetwork([3, 2]).eval(), 3, {}, "has no density"),
        (lambda: random_tilted(3), 4, {}, "evidence of 4 features"),
        (lambda: random_tilted(3), 3, {"starts": 0}, "starts must be at least 1"),
        (
            lambda: random_tilted(3),
            3,
            {"choices": [([0, 1], torch.eye(3))]},
            "a choice of 2 features has values",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_line(make, given, options, message):
    with pytest.raises(ValueError, match=message) as found:
        mpe(make(), Evidence.nothing(given), **options)
    assert "\n" not in str(found.value)


def test_a_code_that_is_none_is_refused():
    density = random_tilted(3)
    evidence = Evidence(torch.tensor([[0.5, 0.5, math.nan]]))
    with pytest.raises(ValueError, match=r"row 0: what is known of features \[0, 1\]"):
        mpe(density, evidence, choices=[([0, 1], one_hot(torch.arange(2)).float())])
