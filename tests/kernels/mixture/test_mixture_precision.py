"""Scores and gradients of every kernel against formulas that torch has no part in."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_oracle import (
    NAMES,
    Layer,
    by_mpmath,
    by_numpy,
    by_torch,
    eager,
    ordinary_layer,
    rounded,
    wide_layer,
)

from ugmm.functional import mixture_log_score

CASES = [("reference", torch.float32), ("reference", torch.float64), ("cpu", torch.float32)]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
each_kernel = pytest.mark.parametrize(("kernel", "dtype"), CASES, ids=lambda v: str(v))
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 20), st.integers(1, 70))


def compute(kernel, layer, dtype):
    return by_torch(functools.partial(mixture_log_score, kernel=kernel), layer, dtype)


def relative(result, expected):
    return np.linalg.norm(result - expected) / max(np.linalg.norm(expected), 1e-30)


def assert_near(results, expected, tolerance):
    for name in NAMES:
        assert relative(results[name], expected[name]) < tolerance, name


@each_kernel
@settings(derandomize=True, deadline=None, max_examples=30)
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_ordinary_inputs(kernel, dtype, sizes, seed):
    layer = rounded(ordinary_layer(*sizes, seed), dtype)
    expected = by_numpy(layer)
    if sizes[2] == 1:  # the only weight is 1 whatever its logit
        expected["logits"] = np.zeros_like(expected["logits"])
        results = compute(kernel, layer, dtype)
        scale = np.abs(layer.grad).sum(0).max()
        assert np.abs(results.pop("logits")).max() <= TOLERANCE[dtype] * scale
        expected.pop("logits")
        for name in results:
            assert relative(results[name], expected[name]) < TOLERANCE[dtype], name
        return
    assert_near(compute(kernel, layer, dtype), expected, TOLERANCE[dtype])


@each_kernel
@pytest.mark.parametrize("sizes", [(128, 16, 784), (600, 3, 1024), (2000, 2, 5)])
def test_large_layers(kernel, dtype, sizes):
    layer = rounded(ordinary_layer(*sizes), dtype)
    assert_near(compute(kernel, layer, dtype), by_numpy(layer), TOLERANCE[dtype])


@each_kernel
@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 6)),
    seed=st.integers(0, 10**6),
)
def test_wide_inputs_are_no_worse_than_eager(kernel, dtype, sizes, seed):
    layer = rounded(wide_layer(*sizes, seed), dtype)
    exact, sizes_of_terms = by_mpmath(layer)
    results = compute(kernel, layer, dtype)
    plain = by_torch(eager, layer, dtype)
    for name in NAMES:
        assert np.isfinite(results[name]).all(), name
        by_eager = np.abs(plain[name] - exact[name])
        by_eager[~np.isfinite(by_eager)] = 0.0
        bound = 4 * by_eager + TOLERANCE[dtype] * sizes_of_terms[name] + 1e-37
        assert (np.abs(results[name] - exact[name]) <= bound).all(), name


@pytest.mark.parametrize("scale", [1e-2, 1e-4])
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_the_compiled_kernel_keeps_digits_far_from_every_component(scale, size):
    layer = ordinary_layer(6, 4, 20)
    layer = layer._replace(x=layer.x * size, log_scale=layer.log_scale + np.log(scale))
    layer = rounded(layer, torch.float32)
    exact, _ = by_mpmath(layer)
    assert_near(compute("cpu", layer, torch.float32), exact, 1e-5)


@each_kernel
def test_dropped_components(kernel, dtype):
    layer = rounded(ordinary_layer(9, 4, 21), dtype)
    kept = np.random.default_rng(1).random((4, 21)) < 0.5
    kept[1] = np.arange(21) == 7  # all but one dropped
    layer = layer._replace(logits=np.where(kept, layer.logits, -np.inf))
    results, expected = compute(kernel, layer, dtype), by_numpy(layer)
    for name in ("score", "x", "loc", "log_scale"):
        assert relative(results[name], expected[name]) < TOLERANCE[dtype], name
    assert np.abs(results["logits"] - expected["logits"]).max() < 10 * TOLERANCE[dtype]
    for name in NAMES[2:]:
        assert (results[name][~kept] == 0).all(), name


@each_kernel
def test_dropping_equals_leaving_out(kernel, dtype):
    x, loc, log_scale, logits, _ = (torch.tensor(a, dtype=dtype) for a in ordinary_layer(5, 3, 8))
    dropped = logits.clone()
    dropped[:, 5:] = -torch.inf
    whole = mixture_log_score(x, loc, log_scale, dropped, kernel=kernel)
    part = [t[:, :5] for t in (x, loc, log_scale, logits)]
    torch.testing.assert_close(whole, mixture_log_score(*part, kernel=kernel))


@each_kernel
def test_nan_is_never_hidden(kernel, dtype):
    for i, name in enumerate(("x", "loc", "log_scale", "logits")):
        inputs = [torch.tensor(a, dtype=dtype) for a in ordinary_layer(6, 5, 40)[:4]]
        inputs[i][2, 17] = torch.nan
        score = mixture_log_score(*inputs, kernel=kernel)
        hurt = score.isnan()
        row = hurt[2] if name == "x" else hurt[:, 2]
        assert row.all(), name
        assert hurt.sum() == row.numel(), name


@each_kernel
def test_nan_gradient_reaches_every_parameter(kernel, dtype):
    layer = ordinary_layer(6, 5, 40)
    layer.grad[3, 2] = np.nan
    results = compute(kernel, layer, dtype)
    assert np.isnan(results["x"][3]).all()
    for name in NAMES[2:]:
        assert np.isnan(results[name][2]).all(), name


@each_kernel
def test_an_infinite_input_only_silences_its_component(kernel, dtype):
    layer = ordinary_layer(6, 5, 7)
    layer.x[1, 3], layer.x[4, 0] = np.inf, -np.inf
    results = compute(kernel, layer, dtype)
    far = layer._replace(x=np.clip(layer.x, -1e4, 1e4))
    assert_near(results, by_numpy(rounded(far, dtype)), TOLERANCE[dtype])
    alone = Layer(np.array([[np.inf]]), *(np.zeros((1, 1)) for _ in range(3)), np.ones((1, 1)))
    assert compute(kernel, alone, dtype)["score"] == -np.inf


@each_kernel
def test_a_component_at_its_centre_with_a_tiny_scale(kernel, dtype):
    layer = ordinary_layer(3, 2, 4)
    layer.loc[:] = layer.x[0]
    layer.log_scale[:] = -40.0
    layer = rounded(layer, dtype)
    results = compute(kernel, layer, dtype)
    assert all(np.isfinite(results[name][0]).all() for name in ("score", "x"))


def test_gradcheck_in_float64():
    inputs = [torch.tensor(a).requires_grad_() for a in ordinary_layer(3, 2, 5)[:4]]
    function = functools.partial(mixture_log_score, kernel="reference")
    assert torch.autograd.gradcheck(function, inputs)
