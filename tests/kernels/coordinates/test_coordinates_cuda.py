"""Candidates of single inputs by Triton kernels: on a GPU, else in Triton's interpreter."""

# ruff: noqa: E402

import importlib
import os
import sys

import pytest
import torch

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")
if not ON_GPU:  # lightning may have imported Triton before, when it was not to be interpreted
    for library in ("triton.language.standard", "triton.language"):
        importlib.reload(sys.modules[library])

from ugmm.kernels.coordinates.cuda import CudaCandidates
from ugmm.kernels.coordinates.reference import Candidates
from ugmm.kernels.problem import Problem

DEVICE = "cuda" if ON_GPU else "cpu"

pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero)")


def compare(x, parameters, values, coordinates, first=0, stop=None, atol=2e-6):
    stop = len(x) * len(coordinates) if stop is None else stop
    wide = Problem(*(t.double() for t in (x, *parameters)), min_scale=0.1)
    expected = Candidates(wide, coordinates, values.double()).scores(first, stop)
    problem = Problem(*(t.to(DEVICE) for t in (x, *parameters)), min_scale=0.1)
    found = CudaCandidates(problem, coordinates.to(DEVICE), values.to(DEVICE))
    scores = found.scores(first, stop).cpu().double()
    torch.testing.assert_close(scores, expected, atol=atol, rtol=5e-7, equal_nan=True)


def layer(batch, n_out, n_in, n_values, rows=1):
    torch.manual_seed(0)
    parameters = [torch.randn(n_out, n_in) for _ in range(3)]
    return torch.randn(batch, n_in), parameters, torch.randn(rows, n_in, n_values)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 7, 2, 5), (2, 33, 9, 17)])
def test_shapes(sizes):
    batch, _, n_in, n_values = sizes
    x, parameters, values = layer(*sizes)
    compare(x, parameters, values, torch.arange(n_in))
    wanted = torch.tensor([n_in - 1, 0])
    compare(x, parameters, torch.randn(batch, 2, n_values), wanted, 1, 2 * batch)
    compare(x[:0], parameters, values, torch.arange(n_in))


@pytest.mark.parametrize("slope", [-60.0, 60.0])
def test_scores_of_many_sizes(slope):
    x, parameters, values = layer(2, 5, 12, 3)
    parameters[2] += slope * torch.arange(12)
    compare(x, parameters, values, torch.arange(12), atol=2e-4)


def test_dropped_components_and_inputs_without_a_number():
    x, parameters, values = layer(2, 5, 6, 3)
    parameters[2][:, 1], parameters[2][3, :] = -torch.inf, -torch.inf
    parameters[2][3, 4] = 0.0
    x[0, 2], x[1, 5], values[0, 3, 0] = torch.inf, torch.nan, -torch.inf
    compare(x, parameters, values, torch.arange(6))


def test_compiles_ahead_of_time(compile_ahead_of_time):
    compile_ahead_of_time("coordinates")
