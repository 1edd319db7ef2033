"""The cumulative score on a CPU in float32: compiled loops, split over threads.

Forward goes up the inputs (`upward`), backward down again (`downward`).
"""

import ctypes
import functools
import mmap
from typing import Any

import torch
from torch import Tensor

from ugmm.kernels.compiled.threads import count_vectors, layer_fields, run, split, thread_count
from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.cumulative import downward, upward
from ugmm.kernels.definition import Kernel, register
from ugmm.kernels.problem import CumulativeProblem, Problem

__all__ = ["CPU", "KERNEL"]

_HUGE = 2**21  # bytes of a huge page


@functools.cache
def _madvise() -> Any:
    """The C library's `madvise`, where the system has huge pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


def _in_huge_pages(tensor: Tensor) -> Tensor:
    """Ask for huge pages under a new, large tensor: faults of small ones outlast forward."""
    begin, size = tensor.data_ptr(), tensor.nbytes
    first, last = -(-begin // _HUGE) * _HUGE, (begin + size) // _HUGE * _HUGE
    if last > first and (madvise := _madvise()) is not None:
        madvise(first, last - first, mmap.MADV_HUGEPAGE)  # if it is refused, nothing is lost
    return tensor


def _saved_shapes(problem: CumulativeProblem) -> tuple[Any, Any]:
    """The sums of every pair of rows at every span; each block's prepared constants."""
    batch, (n_out, n_in) = problem.x.shape[0], problem.loc.shape
    blocks, spans = count_vectors(n_out), -(-n_in // upward.SPAN)
    states = (blocks, spans, (batch + 1) // 2, 2 * upward.PAIR)
    return states, (blocks, n_in, upward.PARTS * LANES)


def _fields(problem: CumulativeProblem, after: Tensor, wanted: int, backward: bool) -> Any:
    """The tasks; and the fields of a call that both ways need."""
    batch, (n_out, n_in) = problem.x.shape[0], problem.loc.shape
    threads = thread_count(batch, n_out, n_in)
    tasks = split(batch, count_vectors(n_out), n_in, threads, backward)
    more = {"start": problem.start.contiguous(), "tasks": tasks.address}
    more |= {"after": after, "used": len(after), "wanted": wanted}
    return tasks, {**layer_fields(Problem(*problem[:4])), **more}


def _forward(problem: CumulativeProblem) -> tuple[Tensor, Tensor, Tensor]:
    score = _in_huge_pages(problem.x.new_empty(problem.score_shape()))
    batch = problem.x.shape[0]
    states, columns = (problem.x.new_empty(s) for s in _saved_shapes(problem))
    after, wanted, empty = problem.wanted()
    if empty:
        score[:, 0] = problem.start
    if batch and len(after):
        tasks, fields = _fields(problem, after, wanted, False)
        results = {"score": score, "states": states, "columns": columns}
        run(upward.passes(), len(tasks.lines), **fields, **results)
    return score, states, columns


def _backward(
    grad: Tensor,
    states: Tensor,
    columns: Tensor,
    problem: CumulativeProblem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    x, (batch, n_in) = problem.x, problem.x.shape
    results = problem.empty_gradients(need_x, True)
    after, wanted, empty = problem.wanted()
    if batch and len(after):
        tasks, fields = _fields(problem, after, wanted, True)
        dx_rows = batch if need_x else 0
        names = ("dx", "by_loc", "by_log_scale", "by_logits", "dstart")
        fields |= dict(zip(names, results, strict=True))
        fields["more_dx"] = x.new_empty(tasks.more_outs, dx_rows, n_in)
        fields["more_sums"] = x.new_empty(tasks.more_rows + 1, *columns.shape)
        fields |= {"dx_rows": dx_rows, "grad": grad.contiguous()}
        fields |= {"states": states, "columns": columns}
        run(downward.passes(), len(tasks.lines), **fields)
    else:
        for result in results:
            result.zero_()
    if empty:
        results[-1].add_(grad[:, 0].masked_fill(problem.start == -torch.inf, 0.0))
    if need_parameters:
        return results
    return results[0], *(x.new_empty(0, 0) for _ in range(3)), results[-1]


KERNEL = Kernel(
    name="cumulative_log_score_cpu",
    forward=_forward,
    backward=_backward,
    saved_shapes=_saved_shapes,
    dispatch_key="CPU",
    problem=CumulativeProblem,
)
CPU = register(KERNEL)
