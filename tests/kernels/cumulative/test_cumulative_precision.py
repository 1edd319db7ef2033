"""The cumulative score and its gradients, by every kernel, against a loop in float64."""

import functools
import itertools

import numpy as np
import pytest
import torch
from cumulative_oracle import NAMES, by_loop, by_torch, naive, ordinary
from hypothesis import given, settings
from hypothesis import strategies as st

from ugmm.functional import cumulative_log_score

TOLERANCE = 3e-6
each_kernel = pytest.mark.parametrize("kernel", ["reference", "cpu"])


def compute(kernel, problem, dtype=torch.float32):
    return by_torch(functools.partial(cumulative_log_score, kernel=kernel), problem, dtype)


def assert_near(results, expected, tolerance=TOLERANCE, names=NAMES):
    for name in names:
        finite = np.isfinite(expected[name])
        np.testing.assert_array_equal(results[name][~finite], expected[name][~finite], name)
        error = np.linalg.norm((results[name] - expected[name])[finite])
        assert error <= tolerance * np.linalg.norm(expected[name][finite]), name


def some_positions(n_in):
    """Every third but the first; and the last alone."""
    return [None, np.arange(min(1, n_in - 1), n_in, 3), np.array([n_in - 1])]


@each_kernel
@pytest.mark.parametrize("n_in", [1, 2, 17])
def test_shapes(kernel, n_in):
    batches = (1, 3, 128) if kernel == "cpu" else (3,)
    for batch, n_out in itertools.product(batches, (1, 7, 16, 33, 128)):
        for positions in some_positions(n_in):
            problem = ordinary(batch, n_out, n_in, positions)
            assert_near(compute(kernel, problem), by_loop(problem))


@each_kernel
@pytest.mark.parametrize("sizes", [(1, 128), (3, 33), (3, 1), (128, 7), (33, 16)])
def test_many_inputs(kernel, sizes):
    for positions in some_positions(784):
        problem = ordinary(*sizes, 784, positions)
        expected = by_torch(naive, problem, torch.float64)
        assert_near(compute(kernel, problem), expected)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    sizes=st.tuples(st.integers(1, 20), st.integers(1, 40), st.integers(1, 100)),
    share=st.floats(0.0, 1.0),
    seed=st.integers(0, 1000),
)
def test_ordinary_inputs(sizes, share, seed):
    wanted = np.flatnonzero(np.random.default_rng(seed).random(sizes[2]) < share)
    problem = ordinary(*sizes, wanted, seed)
    results = compute("cpu", problem)
    assert_near(results, by_loop(problem))
    unused = slice(wanted[-1] if len(wanted) else 0, None)
    assert all((results[name][:, unused] == 0).all() for name in NAMES[1:5])


def test_float64():
    problem = ordinary(5, 6, 40)
    assert_near(compute("reference", problem, torch.float64), by_loop(problem), 1e-12)


@pytest.mark.parametrize("positions", [None, [0, 3], [2, 4]])
def test_gradcheck(positions):
    positions = None if positions is None else torch.tensor(positions)
    inputs = [torch.tensor(a).requires_grad_() for a in ordinary(3, 2, 5)[:5]]
    function = functools.partial(cumulative_log_score, positions=positions, kernel="reference")
    assert torch.autograd.gradcheck(function, inputs)


@each_kernel
def test_the_empty_prefix_is_start(kernel):
    problem = ordinary(5, 20, 9)
    np.testing.assert_array_equal(compute(kernel, problem)["score"][:, 0], problem.start)


@each_kernel
@pytest.mark.parametrize("slope", [-60.0, -3.0, 3.0, 60.0])
@pytest.mark.parametrize("start", [-np.inf, -4000.0, 0.0])
def test_prefixes_far_below_later_ones_and_above(kernel, slope, start):
    problem = ordinary(4, 18, 70)
    problem.log_weights[:] += np.float32(slope) * np.arange(70)
    problem.log_weights[:] = problem.log_weights.astype(np.float32)
    problem.start[:] = start
    results, expected = compute(kernel, problem), by_loop(problem)
    finite = np.isfinite(expected["score"])
    np.testing.assert_array_equal(np.isneginf(results["score"]), ~finite)
    np.testing.assert_allclose(results["score"][finite], expected["score"][finite], 5e-7, 1e-6)
    assert_near(results, expected, 1e-3, NAMES[1:])  # of components of 4000 four digits are lost


@each_kernel
def test_huge_distances(kernel):
    problem = ordinary(6, 18, 50)
    problem.log_scale[:] = np.float32(-7.0)  # z**2 of 1e6
    problem.start[:] = -np.inf
    results, expected = compute(kernel, problem), by_loop(problem)
    np.testing.assert_allclose(results["score"], expected["score"], 1e-6, 1e-6)
    assert np.abs(expected["score"][:, 1:]).max() > 1e6
    if kernel == "cpu":  # few digits as such components have, their ratios add up to one
        total = results["log_weights"].sum(1)
        np.testing.assert_allclose(total, problem.grad[:, 1:].sum((0, 1)), 1e-4, 1e-4)
    assert all(np.isfinite(results[name]).all() for name in NAMES[1:])


@each_kernel
def test_nothing_yet(kernel):
    problem = ordinary(5, 20, 40)
    kept = np.random.default_rng(1).random((20, 40)) < 0.3
    kept[:, :3] = False
    kept[4] = False
    problem.log_weights[~kept] = -np.inf
    problem.start[:, ::2] = -np.inf
    results, expected = compute(kernel, problem), by_loop(problem)
    assert np.isneginf(expected["score"][:, :4, ::2]).all()
    assert np.isneginf(expected["score"][:, :, 4]).all()
    assert_near(results, expected)
    assert (results["log_weights"][~kept] == 0).all()
    assert (results["start"][:, ::2] == 0).all()


@each_kernel
@pytest.mark.parametrize("name", ["x", "loc", "log_scale", "log_weights", "start"])
def test_nan_is_never_hidden(kernel, name):
    problem = ordinary(5, 20, 40)
    getattr(problem, name)[2, 17] = np.nan
    hurt = np.isnan(compute(kernel, problem)["score"])
    expected = np.zeros_like(hurt)
    if name == "x":
        expected[2, 18:] = True
    elif name == "start":
        expected[2, :, 17] = True
    else:
        expected[:, 18:, 2] = True
    np.testing.assert_array_equal(hurt, expected)


@each_kernel
def test_a_nan_stays_in_its_row(kernel):
    problem = ordinary(6, 20, 40)
    problem.x[3, 17] = np.nan
    results = compute(kernel, problem)
    for name in ("score", "x", "start"):
        assert np.isfinite(np.delete(results[name], 3, 0)).all(), name


@each_kernel
def test_the_last_input_is_never_looked_at(kernel):
    problem, positions = ordinary(5, 20, 40), np.array([0, 7, 30])
    ahead = ordinary(5, 20, 40, positions)
    for some, first in ((problem, 39), (ahead, 30)):
        expected = by_loop(some)
        for name in ("x", "loc", "log_scale", "log_weights"):
            getattr(some, name)[:, first:] = np.nan
        assert_near(compute(kernel, some), expected)


@each_kernel
def test_an_infinite_input_only_silences_its_component(kernel):
    problem = ordinary(6, 20, 40)
    problem.x[1, 3], problem.x[4, 0] = np.inf, -np.inf
    results = compute(kernel, problem)
    assert_near(results, by_loop(problem._replace(x=np.clip(problem.x, -1e6, 1e6))))
