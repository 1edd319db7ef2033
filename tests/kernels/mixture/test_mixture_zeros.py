"""The CPU kernel's own way for inputs that are mostly zero, against NumPy in float64."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_oracle import NAMES, by_numpy, by_torch, ordinary_layer, rounded
from torch.utils.checkpoint import checkpoint

from ugmm.functional import mixture_log_score
from ugmm.kernels.mixture import cpu
from ugmm.kernels.prepared import Prepared
from ugmm.kernels.problem import Problem

PARAMETERS = NAMES[2:]


@pytest.fixture
def ways(monkeypatch):
    """What was decided, call by call: True where the way for zeros was taken."""
    decided, decide = [], cpu.mostly_zero

    def record(*args):
        decided.append(decide(*args))
        return decided[-1]

    monkeypatch.setattr(cpu, "mostly_zero", record)
    return decided


def mostly_zero_layer(batch, n_out, n_in, seed=0, share=0.2):
    """A layer as a network's first one on pixels: few inputs are not 0."""
    layer = ordinary_layer(batch, n_out, n_in, seed)
    kept = np.random.default_rng(seed).random(layer.x.shape) < share
    return rounded(layer._replace(x=np.where(kept, layer.x, 0.0)), torch.float32)


def compute(layer):
    """The score and the parameters' gradients: the input needs none."""
    x, *parameters, grad = (torch.tensor(a, dtype=torch.float32) for a in layer)
    parameters = [p.requires_grad_() for p in parameters]
    score = mixture_log_score(x, *parameters, kernel="cpu")
    results = (score.detach(), *torch.autograd.grad(score, parameters, grad))
    names = ("score", *PARAMETERS)
    return {name: r.double().numpy() for name, r in zip(names, results, strict=True)}


def assert_near(results, expected, tolerance=1e-5, names=("score", *PARAMETERS)):
    for name in names:
        error = np.linalg.norm(results[name] - expected[name])
        assert error < tolerance * np.linalg.norm(expected[name]), name


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    sizes=st.tuples(st.integers(40, 600), st.integers(32, 70), st.integers(103, 300)),
    share=st.sampled_from([0.0, 0.02, 0.2, 0.45]),
    seed=st.integers(0, 1000),
)
def test_ordinary_inputs(sizes, share, seed):
    layer = mostly_zero_layer(*sizes, seed, share)
    assert cpu.mostly_zero(Problem(*(torch.tensor(tensor) for tensor in layer[:4])))
    assert_near(compute(layer), by_numpy(layer))


def test_the_same_place_of_every_image_is_not_all_that_is_looked_at():
    """Patches of dense images, of which the first at each image's corner is mostly outside."""
    patches = torch.rand(64 * 784, 9)
    patches[::784, :5] = 0.0
    layer = (torch.randn(32, 9) for _ in range(3))
    assert not cpu.mostly_zero(Problem(patches, *layer))


def test_it_is_taken_for_zeros_only(ways):
    compute(mostly_zero_layer(64, 48, 200))
    assert ways == [True, True]
    ways.clear()
    compute(mostly_zero_layer(64, 48, 200, share=0.9))
    compute(mostly_zero_layer(64, 16, 200))  # half a block of neurons would be idle
    assert ways == [False] * 4


def test_the_inputs_gradient_comes_the_usual_way(ways):
    layer = mostly_zero_layer(64, 48, 200)
    function = functools.partial(mixture_log_score, kernel="cpu")
    assert_near(by_torch(function, layer, torch.float32), by_numpy(layer), names=NAMES)
    assert ways == [True]  # forward's sums serve the usual backward


def test_far_rows(ways):
    layer = mostly_zero_layer(300, 40, 150)
    layer.x[::7] = np.where(layer.x[::7] != 0, 40.0, 0.0)  # far inputs beside zeros
    layer.loc[:] = np.where(np.arange(40)[:, None] % 3 == 0, 30.0, layer.loc)  # far zeros
    layer = rounded(layer, torch.float32)
    assert_near(compute(layer), by_numpy(layer))
    assert ways == [True, True]


def test_sums_over_many_rows_lose_no_digits():
    layer = mostly_zero_layer(30_000, 32, 50)
    layer = layer._replace(grad=np.ones_like(layer.grad))
    assert_near(compute(layer), by_numpy(layer), 2e-6, ("loc", "log_scale"))


def test_dropped_components(ways):
    layer = mostly_zero_layer(64, 33, 160)
    kept = np.random.default_rng(1).random(layer.loc.shape) < 0.5
    layer = layer._replace(logits=np.where(kept, layer.logits, -np.inf))
    results, expected = compute(layer), by_numpy(layer)
    assert_near(results, expected)
    for name in PARAMETERS:
        assert (results[name][~kept] == 0).all(), name
    assert ways == [True, True]


def test_huge_and_infinite_inputs_only_silence_their_components(ways):
    layer = mostly_zero_layer(70, 40, 150)
    layer.x[1, 3], layer.x[4, 0], layer.x[5, 5] = np.inf, -np.inf, 1e30
    clipped = layer._replace(x=np.clip(layer.x, -1e4, 1e4))
    assert_near(compute(layer), by_numpy(rounded(clipped, torch.float32)))
    assert ways == [True, True]


@pytest.mark.parametrize("name", ["x", "loc", "log_scale", "logits"])
def test_nan_is_never_hidden(name, ways):
    layer = mostly_zero_layer(64, 48, 200)
    getattr(layer, name)[2, 17] = np.nan
    hurt = np.isnan(compute(layer)["score"])
    row = hurt[2] if name == "x" else hurt[:, 2]
    assert row.all()
    assert hurt.sum() == row.size
    assert ways == [True, True]


def test_nan_gradient_reaches_its_neuron_only(ways):
    layer = mostly_zero_layer(64, 48, 200)
    layer.grad[3, 2] = np.nan
    results = compute(layer)
    for name in PARAMETERS:
        assert np.isnan(results[name][2]).all(), name
        assert np.isfinite(np.delete(results[name], 2, 0)).all(), name
    assert ways == [True, True]


def test_results_repeat_and_do_not_depend_on_threads():
    layer, before = mostly_zero_layer(64, 48, 200), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = compute(layer)
        torch.set_num_threads(2)
        both, again = compute(layer), compute(layer)
    finally:
        torch.set_num_threads(before)
    for name in ("score", *PARAMETERS):
        np.testing.assert_array_equal(both[name], again[name])
        np.testing.assert_allclose(both[name], alone[name], rtol=1e-4, atol=1e-6)


def test_lists_are_saved_as_tensors_are():
    """So they are let go after backward, though the score stays, and in a checkpoint."""
    layer, packed = mostly_zero_layer(60, 40, 200), []
    x, *parameters, grad = (torch.tensor(a, dtype=torch.float32) for a in layer)
    parameters = [p.requires_grad_() for p in parameters]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        score = mixture_log_score(x, *parameters, kernel="cpu")
    assert torch.int16 in [t.dtype for t in packed]
    first = torch.autograd.grad(score, parameters, grad, retain_graph=True)
    second = torch.autograd.grad(score, parameters, grad)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    function = functools.partial(mixture_log_score, kernel="cpu")
    score = checkpoint(function, x, *parameters, use_reentrant=False)
    third = torch.autograd.grad(score, parameters, grad)
    torch.testing.assert_close(first, third, rtol=0, atol=0)


def test_columns_that_inference_prepared_serve_training():
    layer = mostly_zero_layer(60, 40, 200)
    x, *parameters, grad = (torch.tensor(a, dtype=torch.float32) for a in layer)
    parameters = [p.requires_grad_() for p in parameters]
    score = functools.partial(mixture_log_score, x, *parameters, kernel="cpu")
    expected = torch.autograd.grad(score(), parameters, grad)
    prepared = Prepared(*parameters)
    with torch.inference_mode():
        score(prepared=prepared)
    found = torch.autograd.grad(score(prepared=prepared), parameters, grad)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
