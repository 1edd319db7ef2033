"""Unknown inputs and a least scale, in every way of computing a score, against NumPy."""

import functools
import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_oracle import NAMES, Layer, by_numpy, by_torch, ordinary_layer, rounded

from ugmm.functional import mixture_log_score
from ugmm.kernels.formula import score_by_formula
from ugmm.kernels.problem import Problem

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 20), st.integers(1, 70))
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero)")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def by_formula(*inputs, known, min_scale=0.0):
    return score_by_formula(Problem(*inputs, known, min_scale))


WAYS = {
    "formula": (by_formula, torch.float64),
    "reference": (functools.partial(mixture_log_score, kernel="reference"), torch.float64),
    "reference in float32": (
        functools.partial(mixture_log_score, kernel="reference"),
        torch.float32,
    ),
    "cpu": (functools.partial(mixture_log_score, kernel="cpu"), torch.float32),
}
QUICK = dict(WAYS)
each_quick_way = pytest.mark.parametrize(("function", "dtype"), QUICK.values(), ids=QUICK)
if find_spec("triton") is not None:
    from mixture_interpreted import score

    WAYS["cuda"] = (score, torch.float32)
each_way = pytest.mark.parametrize(("function", "dtype"), WAYS.values(), ids=WAYS)


def some_known(layer, share, seed=0):
    return np.random.default_rng(seed).random(layer.x.shape) < share


def compute(function, layer, dtype, known, min_scale=0.0):
    known = torch.tensor(known)
    return by_torch(functools.partial(function, known=known, min_scale=min_scale), layer, dtype)


def assert_near(results, expected, layer, tolerance):
    """Gradients by logits are small differences: they are measured by what they are made of."""
    for name in NAMES:
        error = np.linalg.norm(results[name] - expected[name])
        size = np.linalg.norm(layer.grad if name == "logits" else expected[name])
        assert error <= tolerance * max(size, 1e-30), name


@each_quick_way  # an interpreted kernel is slow: test_mixture_cuda has fewer of these
@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    sizes=SIZES,
    share=st.sampled_from([0.0, 0.05, 0.5, 0.9, 1.0]),
    min_scale=st.sampled_from([0.0, 0.2, 3.0]),
    seed=st.integers(0, 1000),
)
def test_ordinary_inputs(function, dtype, sizes, share, min_scale, seed):
    layer = rounded(ordinary_layer(*sizes, seed), dtype)
    known = some_known(layer, share, seed)
    results = compute(function, layer, dtype, known, min_scale)
    assert_near(results, by_numpy(layer, known, min_scale), layer, TOLERANCE[dtype])


@pytest.mark.parametrize("min_scale", [0.0, 0.2])
@pytest.mark.parametrize("share", [0.02, 0.8])
def test_inputs_that_are_mostly_zero(share, min_scale):
    layer = ordinary_layer(300, 40, 150)
    zero = np.random.default_rng(1).random(layer.x.shape) < 0.8
    layer.x[zero] = 0.0
    layer.x[::7] *= 40.0  # far rows
    layer = rounded(layer, torch.float32)
    known = some_known(layer, share)
    known[5] = False
    x, *parameters, grad = (torch.tensor(a, dtype=torch.float32) for a in layer)
    parameters = [p.requires_grad_() for p in parameters]
    known_tensor = torch.tensor(known)
    score = mixture_log_score(x, *parameters, known=known_tensor, min_scale=min_scale)
    found = (score.detach(), *torch.autograd.grad(score, parameters, grad))
    expected = by_numpy(layer, known, min_scale)
    for name, result in zip(("score", *NAMES[2:]), found, strict=True):
        error = np.linalg.norm(result.double().numpy() - expected[name])
        assert error < 1e-5 * np.linalg.norm(expected[name]), name


@each_way
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_what_an_unknown_input_holds_does_not_matter(function, dtype, value):
    layer = ordinary_layer(40, 33, 120)
    layer.x[np.random.default_rng(2).random(layer.x.shape) < 0.7] = 0.0
    known = some_known(layer, 0.6)
    held = layer._replace(x=np.where(known, layer.x, value))
    expected = compute(function, layer, dtype, known)
    results = compute(function, held, dtype, known)
    for name in NAMES:
        np.testing.assert_array_equal(results[name], expected[name])


@each_way
def test_where_nothing_is_known_the_score_is_0_and_gives_no_gradient(function, dtype):
    layer = ordinary_layer(6, 5, 7)
    known = some_known(layer, 0.7)
    known[2], known[4] = False, True
    layer.logits[3, known[0]] = -np.inf  # what the first row knows this neuron does not look at
    layer = rounded(layer, dtype)
    results = compute(function, layer, dtype, known)
    assert (results["score"][2] == 0).all()
    assert results["score"][0, 3] == 0
    assert (results["x"][2] == 0).all()
    assert_near(results, by_numpy(layer, known), layer, TOLERANCE[dtype])


@each_way
def test_all_known_is_as_without_a_mask(function, dtype):
    layer = rounded(ordinary_layer(9, 5, 30), dtype)
    masked = compute(function, layer, dtype, np.ones((9, 30), bool))
    plain = by_torch(functools.partial(function, known=None), layer, dtype)
    assert_near(masked, plain, layer, TOLERANCE[dtype])


@each_way
def test_weights_far_below_those_of_unknown_inputs(function, dtype):
    layer = ordinary_layer(8, 4, 12)
    layer.logits[:, :5] -= 300.0
    layer = rounded(layer, dtype)
    known = np.arange(12)[None] < np.array([5, 5, 5, 5, 12, 12, 3, 1])[:, None]
    results = compute(function, layer, dtype, known)
    assert_near(results, by_numpy(layer, known), layer, TOLERANCE[dtype])


@each_way
def test_no_number_stands_for_an_unknown_input(function, dtype):
    """Not even a far one, which raw data may hold."""
    layer = Layer(
        np.array([[1e6 - 47.0, 0.0]]),
        np.array([[1e6 - 50.0, 0.0]]),
        np.zeros((1, 2)),
        np.zeros((1, 2)),
        np.ones((1, 1)),
    )
    score = compute(function, layer, dtype, np.array([[True, False]]))["score"]
    assert score == pytest.approx(-4.5 - 0.5 * math.log(2 * math.pi), rel=1e-6)


def test_gradcheck_to_the_second_order():
    inputs = [torch.tensor(a).requires_grad_() for a in ordinary_layer(3, 2, 5)[:4]]
    known = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    function = functools.partial(mixture_log_score, known=known, min_scale=0.3, kernel="reference")
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("min_scale", [1e-3, 0.5])
@pytest.mark.parametrize("log_scale", [-60.0, -12.0, 0.0, 30.0, 100.0])
def test_scales_from_the_floor_to_far_above_it(min_scale, log_scale):
    layer = ordinary_layer(20, 3, 18)
    layer = rounded(layer._replace(log_scale=layer.log_scale + log_scale), torch.float32)
    function, dtype = WAYS["cpu"]
    results = by_torch(functools.partial(function, min_scale=min_scale), layer, dtype)
    expected = by_numpy(layer, None, min_scale)
    for name in NAMES:
        error = np.linalg.norm(results[name] - expected[name])
        size = np.linalg.norm(expected[name])
        if name == "logits":
            size = np.linalg.norm(layer.grad)
        assert error <= 2e-5 * size + 1e-37, name


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_any_leading_dimensions(kernel):
    layer = ordinary_layer(12, 4, 6)
    x, *parameters = (torch.tensor(a, dtype=torch.float32) for a in layer[:4])
    known = torch.tensor(some_known(layer, 0.5))
    flat = mixture_log_score(x, *parameters, known=known, kernel=kernel)
    shaped = mixture_log_score(
        x.view(3, 4, 6), *parameters, known=known.view(3, 4, 6), kernel=kernel
    )
    torch.testing.assert_close(shaped.view(12, 4), flat, rtol=0, atol=0)
    one = mixture_log_score(x[5], *parameters, known=known[5], kernel=kernel)
    torch.testing.assert_close(one, flat[5])


@pytest.mark.parametrize(
    ("known", "error", "words"),
    [
        (torch.ones(3, 4), TypeError, "known must be bool"),
        (torch.ones(4).bool(), ValueError, "x's shape"),
        ([True], TypeError, "known must be a torch.Tensor"),
    ],
)
def test_a_wrong_mask_is_refused(known, error, words):
    x, *parameters = (torch.tensor(a) for a in ordinary_layer(3, 2, 4)[:4])
    with pytest.raises(error, match=words):
        mixture_log_score(x, *parameters, known=known)


def test_a_negative_least_scale_is_refused():
    inputs = [torch.tensor(a) for a in ordinary_layer(3, 2, 4)[:4]]
    with pytest.raises(ValueError, match="min_scale must be"):
        mixture_log_score(*inputs, min_scale=-0.1)
