"""The cumulative score's Triton kernels: on a GPU, else in Triton's interpreter on the CPU."""

# ruff: noqa: E402

import importlib
import os
import sys

import numpy as np
import pytest
import torch

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")
if not ON_GPU:  # lightning may have imported Triton before, when it was not to be interpreted
    for library in ("triton.language.standard", "triton.language"):
        importlib.reload(sys.modules[library])

from cumulative_oracle import NAMES, by_loop, by_torch, ordinary

from ugmm.kernels.cumulative import cuda
from ugmm.kernels.cumulative.cuda import CUDA, KERNEL
from ugmm.kernels.definition import register

DEVICE = "cuda" if ON_GPU else "cpu"
INTERPRETED = KERNEL._replace(name="cumulative_log_score_interpreted", dispatch_key="CPU")
OPERATOR = CUDA if ON_GPU else register(INTERPRETED)

pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero)")


def score(*inputs):
    return OPERATOR(*(None if i is None else i.to(DEVICE) for i in inputs)).cpu()


def compute(problem):
    return by_torch(score, problem)


def assert_near(results, expected, tolerance=3e-6, names=NAMES):
    for name in names:
        finite = np.isfinite(expected[name])
        np.testing.assert_array_equal(results[name][~finite], expected[name][~finite], name)
        error = np.linalg.norm((results[name] - expected[name])[finite])
        assert error <= tolerance * np.linalg.norm(expected[name][finite]), name


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 7, 2), (2, 33, 17), (18, 5, 7), (3, 40, 70)])
def test_shapes(sizes, monkeypatch):
    monkeypatch.setattr(cuda, "MOST_PARTS", 2)  # a part has more than one tile of rows
    n_in = sizes[2]
    for positions in (None, np.arange(n_in)[min(1, n_in - 1) :: 3], np.arange(0)):
        problem = ordinary(*sizes, positions)
        assert_near(compute(problem), by_loop(problem))


@pytest.mark.parametrize("slope", [-60.0, 60.0])
@pytest.mark.parametrize("start", [-np.inf, -4000.0])
def test_prefixes_far_below_later_ones_and_above(slope, start):
    problem = ordinary(4, 18, 40)
    problem.log_weights[:] += np.float32(slope) * np.arange(40)
    problem.log_weights[:] = problem.log_weights.astype(np.float32)
    problem.start[:] = start
    results, expected = compute(problem), by_loop(problem)
    finite = np.isfinite(expected["score"])
    np.testing.assert_array_equal(np.isneginf(results["score"]), ~finite)
    np.testing.assert_allclose(results["score"][finite], expected["score"][finite], 5e-7, 1e-6)
    assert_near(results, expected, 1e-3, NAMES[1:])


def test_nothing_yet():
    problem = ordinary(5, 20, 80)
    kept = np.random.default_rng(1).random((20, 80)) < 0.3
    kept[:, :40] = False  # more than a chunk
    problem.log_weights[~kept] = -np.inf
    problem.start[:, ::2] = -np.inf
    assert_near(compute(problem), by_loop(problem))


def test_nan_and_infinite_inputs():
    problem = ordinary(6, 20, 30)
    problem.x[1, 3], problem.x[4, 0] = np.inf, -np.inf
    expected = by_loop(problem._replace(x=np.clip(problem.x, -1e6, 1e6)))
    assert_near(compute(problem), expected)
    problem.x[2, 17] = np.nan
    hurt = np.isnan(compute(problem)["score"])
    assert hurt[2, 18:].all()
    assert hurt.sum() == hurt[2, 18:].size


def test_opcheck():
    name = KERNEL.name if ON_GPU else INTERPRETED.name
    operator = getattr(torch.ops.ugmm, name).default
    *inputs, _, _ = ordinary(5, 3, 8)
    inputs = [torch.tensor(a).float().to(DEVICE).requires_grad_() for a in inputs]
    for positions in (None, torch.tensor([1, 4], device=DEVICE)):
        torch.library.opcheck(operator, (*inputs, positions))


def test_compiles_ahead_of_time(compile_ahead_of_time):
    """For two GPUs: no atomics, no register spilled."""
    compile_ahead_of_time("cumulative")
