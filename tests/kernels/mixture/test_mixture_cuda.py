"""The Triton kernels of the score: on a GPU, else in Triton's interpreter on the CPU."""

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

from ugmm.kernels.prepared import Prepared
from ugmm.kernels.problem import Problem

pytest.importorskip("triton")

from mixture_interpreted import DEVICE, INTERPRETED, KERNEL, ON_GPU, score

from ugmm.kernels.mixture import cuda

TOLERANCE = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero)")


def compute(layer, **options):
    return by_torch(functools.partial(score, **options), layer, torch.float32)


def relative(result, expected):
    return np.linalg.norm(result - expected) / max(np.linalg.norm(expected), 1e-30)


def assert_near(results, expected, names=NAMES):
    for name in names:
        assert relative(results[name], expected[name]) < TOLERANCE, name


def tensors(layer, dtype=torch.float32):
    """The problem and the scores' gradient, on the device; x as `dtype`."""
    x, *parameters, grad = (torch.tensor(a, dtype=torch.float32, device=DEVICE) for a in layer)
    return Problem(x.to(dtype), *parameters), grad


def gradients(problem, grad, need_x=True, need_parameters=True):
    saved = KERNEL.forward(problem)[1:]
    return KERNEL.backward(grad, *saved, problem, need_x, need_parameters)


@settings(derandomize=True, deadline=None, max_examples=10)
@given(
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 70)),
    seed=st.integers(0, 1000),
)
def test_ordinary_inputs(sizes, seed):
    layer = rounded(ordinary_layer(*sizes, seed), torch.float32)
    results, expected = compute(layer), by_numpy(layer)
    assert_near(results, expected, NAMES[:4])
    # Of few inputs the gradients by logits cancel: they are measured by what they are made of.
    error = np.abs(results["logits"] - expected["logits"])
    assert error.max() <= TOLERANCE * np.abs(layer.grad).sum(0).max()


@settings(derandomize=True, deadline=None, max_examples=8)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 10), st.integers(1, 50)),
    share=st.sampled_from([0.05, 0.5, 0.9]),
    min_scale=st.sampled_from([0.0, 0.2, 3.0]),
    seed=st.integers(0, 1000),
)
def test_unknown_inputs_and_a_least_scale(sizes, share, min_scale, seed):
    layer = rounded(ordinary_layer(*sizes, seed), torch.float32)
    known = np.random.default_rng(seed).random(layer.x.shape) < share
    results = compute(layer, known=torch.tensor(known), min_scale=min_scale)
    expected = by_numpy(layer, known, min_scale)
    for name in NAMES:
        error = np.linalg.norm(results[name] - expected[name])
        size = layer.grad if name == "logits" else expected[name]
        assert error <= TOLERANCE * np.linalg.norm(size), name


@pytest.mark.parametrize("log_scale", [-120.0, -12.0, 30.0])
def test_scales_from_the_least_to_far_above_it(log_scale):
    layer = ordinary_layer(20, 3, 18)
    layer = rounded(layer._replace(log_scale=layer.log_scale + log_scale), torch.float32)
    results, expected = compute(layer, min_scale=0.25), by_numpy(layer, None, 0.25)
    for result in (results, expected):  # by logits they cancel: measured by what they are made of
        result["logits"] = result["logits"] + layer.grad.sum(0)[:, None]
    assert_near(results, expected)


@pytest.mark.parametrize("sizes", [(128, 16, 784), (130, 3, 1025), (300, 2, 5)])
def test_large_layers(sizes):
    layer = rounded(ordinary_layer(*sizes), torch.float32)
    assert_near(compute(layer), by_numpy(layer))


@settings(derandomize=True, deadline=None, max_examples=15)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 6)),
    seed=st.integers(0, 10**6),
)
def test_wide_inputs_are_no_worse_than_eager(sizes, seed):
    layer = rounded(wide_layer(*sizes, seed), torch.float32)
    exact, sizes_of_terms = by_mpmath(layer)
    results, plain = compute(layer), by_torch(eager, layer, torch.float32)
    for name in NAMES:
        assert np.isfinite(results[name]).all(), name
        by_eager = np.abs(plain[name] - exact[name])
        by_eager[~np.isfinite(by_eager)] = 0.0
        bound = 4 * by_eager + TOLERANCE * sizes_of_terms[name] + 1e-37
        assert (np.abs(results[name] - exact[name]) <= bound).all(), name


@pytest.mark.parametrize("scale", [1e-2, 1e-4])
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_digits_far_from_every_component(scale, size):
    layer = ordinary_layer(6, 4, 20)
    layer = layer._replace(x=layer.x * size, log_scale=layer.log_scale + np.log(scale))
    layer = rounded(layer, torch.float32)
    assert_near(compute(layer), by_mpmath(layer)[0])


@pytest.mark.parametrize("share", [None, 0.7])
def test_near_and_far_scores_in_every_part(share):
    layer = ordinary_layer(70, 33, 260)
    layer.x[::20] *= 1e3
    layer = rounded(layer, torch.float32)
    if share is None:
        assert_near(compute(layer), by_numpy(layer))
        return
    known = np.random.default_rng(3).random(layer.x.shape) < share
    known[3::15] = np.arange(260) == 31  # one input alone
    known[7] = False
    results = compute(layer, known=torch.tensor(known), min_scale=0.1)
    assert_near(results, by_numpy(layer, known, 0.1))


def test_dropped_components():
    layer = rounded(ordinary_layer(9, 4, 21), torch.float32)
    kept = np.random.default_rng(1).random((4, 21)) < 0.5
    kept[1] = np.arange(21) == 7  # all but one dropped
    layer = layer._replace(logits=np.where(kept, layer.logits, -np.inf))
    results, expected = compute(layer), by_numpy(layer)
    assert_near(results, expected, NAMES[:4])
    assert np.abs(results["logits"] - expected["logits"]).max() < 10 * TOLERANCE
    for name in NAMES[2:]:
        assert (results[name][~kept] == 0).all(), name


def test_nan_is_never_hidden():
    for i in range(4):
        inputs = [torch.tensor(a, dtype=torch.float32) for a in ordinary_layer(6, 5, 40)[:4]]
        inputs[i][2, 17] = torch.nan
        hurt = score(*inputs).isnan()
        row = hurt[2] if i == 0 else hurt[:, 2]
        assert row.all(), i
        assert hurt.sum() == row.numel(), i


def test_nan_gradient_reaches_every_parameter():
    layer = ordinary_layer(6, 5, 40)
    layer.grad[3, 2] = np.nan
    results = compute(layer)
    assert np.isnan(results["x"][3]).all()
    for name in NAMES[2:]:
        assert np.isnan(results[name][2]).all(), name


def test_an_infinite_input_only_silences_its_component():
    layer = ordinary_layer(6, 5, 7)
    layer.x[1, 3], layer.x[4, 0], layer.x[5, 2] = np.inf, -np.inf, 1e30
    far = layer._replace(x=np.clip(layer.x, -1e4, 1e4))
    assert_near(compute(layer), by_numpy(rounded(far, torch.float32)))
    alone = Layer(np.array([[np.inf]]), *(np.zeros((1, 1)) for _ in range(3)), np.ones((1, 1)))
    assert compute(alone)["score"] == -np.inf


def test_a_component_at_its_centre_with_a_tiny_scale():
    layer = ordinary_layer(3, 2, 4)
    layer.loc[:] = layer.x[0]
    layer.log_scale[:] = -40.0
    results = compute(rounded(layer, torch.float32))
    assert all(np.isfinite(results[name][0]).all() for name in ("score", "x"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_inputs(dtype):
    layer = rounded(ordinary_layer(9, 5, 40), torch.float32)
    layer = layer._replace(x=rounded(layer, dtype).x)
    problem, grad = tensors(layer, dtype)
    values = KERNEL.forward(problem)[0]
    results = gradients(problem, grad)
    assert values.dtype == torch.float32
    assert [r.dtype for r in results] == [dtype, *[torch.float32] * 3]
    expected = by_numpy(layer)
    arrays = [r.double().cpu().numpy() for r in (values, *results)]
    assert relative(arrays[1], expected["x"]) < 4 * torch.finfo(dtype).eps
    del arrays[1], expected["x"]
    for result, (name, wanted) in zip(arrays, expected.items(), strict=True):
        assert relative(result, wanted) < TOLERANCE, name


def test_only_needed_gradients_and_the_same_bits_each_time():
    problem, grad = tensors(ordinary_layer(40, 33, 20))
    every = gradients(problem, grad)
    assert all(map(torch.equal, every, gradients(problem, grad)))
    # What else a kernel computes decides how its compiler rounds.
    by_x, *rest = gradients(problem, grad, need_parameters=False)
    torch.testing.assert_close(by_x, every[0])
    assert all(r.numel() == 0 for r in rest)
    by_x, *rest = gradients(problem, grad, need_x=False)
    assert by_x.numel() == 0
    torch.testing.assert_close(tuple(rest), every[1:])


def test_strided_inputs_and_gradients():
    problem, grad = tensors(ordinary_layer(12, 5, 20))
    expected = gradients(problem, grad)
    strided = Problem(*(t.t().contiguous().t() for t in problem[:4]))
    spread = torch.stack([grad, grad], -1)[..., 0]
    assert all(map(torch.equal, gradients(strided, spread), expected))
    ones = torch.ones(1, 1, device=DEVICE).expand(12, 5)
    by_ones = gradients(problem, ones)
    assert all(map(torch.equal, by_ones, gradients(problem, ones.contiguous())))


def test_empty_batch():
    problem, grad = tensors(ordinary_layer(0, 5, 20))
    assert KERNEL.forward(problem)[0].shape == (0, 5)
    results = gradients(problem, grad)
    assert results[0].shape == (0, 20)
    assert all((result == 0).all() for result in results)


def test_opcheck():
    problem, _ = tensors(ordinary_layer(12, 5, 20))
    operator = getattr(torch.ops.ugmm, KERNEL.name if ON_GPU else INTERPRETED.name).default
    inputs = [t.requires_grad_() for t in problem[:4]]
    known = (torch.arange(12 * 20).view(12, 20) % 3 > 0).to(DEVICE)
    torch.library.opcheck(operator, (*inputs, None, 0.1))
    torch.library.opcheck(operator, (*inputs, known, 0.0))


def test_parameters_are_prepared_once_in_a_scope(monkeypatch):
    """And once a step outside it, for both ways."""
    problem, grad = tensors(ordinary_layer(7, 5, 20))
    made = []
    prepare = cuda._table
    monkeypatch.setattr(cuda, "_table", lambda p: made.append(prepare(p)) or made[-1])
    expected = gradients(problem, grad)
    assert len(made) == 1
    inside = problem._replace(prepared=Prepared(*problem[1:4]))
    for _ in range(3):
        assert all(map(torch.equal, gradients(inside, grad), expected))
    assert len(made) == 2


@pytest.mark.skipif(not ON_GPU, reason="needs 20 GB")
def test_offsets_beyond_32_bits():
    batch, n_in = 2**22 + 99, 513
    x = torch.zeros(batch, n_in, dtype=torch.float16, device=DEVICE)
    problem, _ = tensors(ordinary_layer(99, 3, n_in), torch.float16)
    x[-99:] = problem.x
    grad = torch.zeros(batch, 3, device=DEVICE)
    grad[-99:] = 1.0
    whole = gradients(problem._replace(x=x), grad)
    for result, wanted in zip(whole, gradients(problem, grad[-99:]), strict=True):
        torch.testing.assert_close(result[-99:], wanted)


def test_compiles_ahead_of_time(compile_ahead_of_time):
    """For two GPUs: one exponential a component, no atomics, no register spilled."""
    compile_ahead_of_time("mixture")


@pytest.mark.parametrize(
    ("sizes", "least"), [((1024, 1024, 1024), 0.9), ((8192, 32, 9), 0.03), ((65536, 64, 784), 0.9)]
)
def test_parts_keep_a_device_busy_without_a_second_turn(sizes, least):
    programs = 12 * 132
    outs_each, rows_each = cuda._split(*sizes, programs)
    batch, n_out, n_in = sizes
    parts = -(-n_out // outs_each) * -(-batch // rows_each)
    assert least * programs <= parts * -(-n_in // 32) <= programs
    assert outs_each * -(-n_out // outs_each) >= n_out
