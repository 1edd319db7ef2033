"""The score on a CPU in float32: compiled loops, split over threads.

There are three ways: `loops`, `narrow` for few inputs and `zeros` for inputs that are mostly zero.
"""

from typing import Any

import torch
from torch import Tensor

from ugmm.kernels.compiled.threads import layer_fields, run, split, thread_count
from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.definition import Kernel, register
from ugmm.kernels.mixture import loops, narrow, narrow_backward, zeros
from ugmm.kernels.mixture.columns import COLUMN
from ugmm.kernels.problem import Problem

__all__ = ["CPU", "KERNEL", "few_inputs", "mostly_zero"]

_MANY_INPUTS = 2**12  # of a batch: fewer are not worth a look for zeros
_SAMPLE = 16  # rows that are looked at, or up to twice as many
_FEW_INPUTS = 64
_SOME_ROWS = 16  # to outlast the turning about of a layer's constants


def _saved_shapes(batch: Any, n_out: Any, n_in: Any) -> tuple[Any, Any]:
    """The sum of each score; each neuron's prepared constants, padded to whole vectors."""
    width = (n_in + LANES - 1) // LANES * LANES
    return (batch, n_out), (n_out, loops.SLOTS * width)


def _forward(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    x, batch, (n_out, n_in) = problem.x, problem.x.shape[0], problem.loc.shape
    score = x.new_empty(batch, n_out)
    total, constants = (x.new_empty(shape) for shape in _saved_shapes(batch, n_out, n_in))
    offsets = x.new_empty(n_out, dtype=torch.float64)
    results = {"score": score, "total": total, "constants": constants, "offsets": offsets}
    fields = {**layer_fields(problem), **results}
    if mostly_zero(x, n_out):
        prepare, set_up, forward, _ = zeros.passes()
        blocks, buffers, is_zero = _zero_buffers(problem)
        run((prepare, set_up), blocks, **fields, **buffers)
        zero_sums = is_zero @ buffers["at_zero"]
        run((forward,), blocks, **fields, **buffers, zero_sums=zero_sums)
    elif few_inputs(batch, n_out, n_in):
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), False, True)
        run(narrow.passes(), len(tasks), **fields, tasks=tasks.ctypes.data)
    elif batch:
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), False)
        run(loops.passes()[0], len(tasks), **fields, tasks=tasks.ctypes.data)
    return score, total, constants


def _backward(
    grad: Tensor,
    total: Tensor,
    constants: Tensor,
    problem: Problem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    x, batch, (n_out, n_in) = problem.x, problem.x.shape[0], problem.loc.shape
    # The loops sum for the parameters in any case: that costs little and a branch as much.
    results = problem.empty_gradients(need_x, need_parameters or batch > 0)
    if not batch:
        return tuple(result.zero_() for result in results)
    gradients = dict(zip(("dx", "by_loc", "by_log_scale", "by_logits"), results, strict=True))
    saved = {"grad": grad.contiguous(), "total": total, "constants": constants}
    fields = {**layer_fields(problem), **gradients, **saved}
    if not need_x and mostly_zero(x, n_out):
        _, set_up, _, backward = zeros.passes()
        blocks, buffers, is_zero = _zero_buffers(problem)
        run((set_up,), blocks, **fields, **buffers)
        weights = torch.where(total > 0, grad / total, 0.0)  # of far rows none
        weights = torch.nn.functional.pad(weights, (0, blocks * LANES - n_out))
        zero_weights = is_zero.t() @ weights
        run((backward,), blocks, **fields, **buffers, weights=weights, zero_sums=zero_weights)
    elif few_inputs(batch, n_out, n_in):
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), True, True)
        lines = (len(tasks), _vectors(n_out), narrow_backward.line_size(n_in))
        fields["more_sums"] = x.new_empty(lines)
        fields |= {"dx_rows": batch if need_x else 0, "tasks": tasks.ctypes.data}
        run(narrow_backward.passes(), len(tasks), **fields)
    else:
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), True)
        parts_out, parts_rows = tasks[-1, 4:].tolist()
        dx_rows = batch if need_x else 0
        fields["more_dx"] = x.new_empty(parts_out, dx_rows, n_in)
        fields["more_sums"] = x.new_empty(parts_rows, 3, n_out, n_in)
        fields |= {"dx_rows": dx_rows, "tasks": tasks.ctypes.data}
        run(loops.passes()[1], len(tasks), **fields)
    if need_parameters:
        return tuple(results)
    return results[0], *(x.new_empty(0, 0) for _ in range(3))


def mostly_zero(x: Tensor, n_out: int) -> bool:
    """Whether the way for inputs that are mostly zero pays, judged by a few rows."""
    if n_out < 2 * LANES or x.numel() < _MANY_INPUTS:
        return False
    some = x[:: max(1, len(x) // _SAMPLE)]
    return 2 * int(some.count_nonzero()) < some.numel()


def few_inputs(batch: int, n_out: int, n_in: int) -> bool:
    """Whether the way for few inputs pays: whether it goes through fewer vectors."""
    if n_in > _FEW_INPUTS or batch < _SOME_ROWS:
        return False
    vectors = _vectors(n_out) * n_in
    return 2 * vectors < n_out * (2 * _vectors(n_in) + 3)  # 3/2 to finish each neuron's score


def _vectors(n: int) -> int:
    return -(-n // LANES)


def _zero_buffers(problem: Problem) -> tuple[int, dict[str, Tensor], Tensor]:
    """How many blocks of neurons; what `zeros` sets up; and the matrix of which inputs are 0."""
    x, batch, (n_out, n_in) = problem.x, problem.x.shape[0], problem.loc.shape
    blocks, lists = _vectors(n_out), -(-batch // zeros.HEIGHT)
    buffers = {
        "columns": x.new_empty(blocks, n_in, COLUMN),
        "at_zero": x.new_empty(n_in, blocks * LANES),
        "values": x.new_empty(lists, n_in, zeros.HEIGHT),
        "rows": x.new_empty(lists, n_in, zeros.HEIGHT, dtype=torch.int32),
        "counts": x.new_empty(lists, n_in, dtype=torch.int32),
        "ordinary": x.new_ones(batch, dtype=torch.uint8),
    }
    return blocks, buffers, torch.eq(x, 0, out=torch.empty_like(x))


KERNEL = Kernel(
    name="mixture_log_score_cpu",
    forward=_forward,
    backward=_backward,
    saved_shapes=_saved_shapes,
    dispatch_key="CPU",
)
CPU = register(KERNEL)
