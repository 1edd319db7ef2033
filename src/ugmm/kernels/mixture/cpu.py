"""The operation on a CPU in float32: compiled loops (`loops`, `zeros`), split over threads."""

import ctypes
import functools
import itertools
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.mixture import loops, zeros
from ugmm.kernels.operator import Kernel, Problem, register

__all__ = ["CPU", "KERNEL", "layer_fields", "run", "split", "thread_count"]

_SMALL = 2**15  # components: a smaller problem is done before a second thread has begun
_MANY_INPUTS = 2**12  # of a batch: fewer are not worth a look for zeros
_SAMPLE = 16  # rows that are looked at, or up to twice as many


class _Record(ctypes.Structure):
    """What a C function takes: `loops.CALL`."""

    _fields_ = [(name, ctypes.c_int64) for name in loops.CALL.names or ()]


@functools.cache
def _openmp() -> Any:
    """`GOMP_parallel` of the OpenMP runtime that torch itself runs on; None if it has another.

    Threads of our own would compete with torch's: each pool's keep spinning for milliseconds
    after their work, on the cores that the other's then wait for. What looks for a symbol in a
    library looks in the libraries that this one needs, too.
    """
    parallel = getattr(ctypes.CDLL(torch._C.__file__), "GOMP_parallel", None)
    if parallel is not None:
        parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        parallel.restype = None
    return parallel


_forked = threading.Event()  # OpenMP's threads do not survive a fork, and it waits for them
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)


def run(passes: Sequence[Any], n_tasks: int, **fields: Tensor | int) -> None:
    """Do the tasks of passes one after the other, on as many threads as torch uses.

    The result does not depend on which thread does which task.
    """
    record = _Record(n_tasks=n_tasks)
    for name, value in fields.items():
        setattr(record, name, value.data_ptr() if isinstance(value, Tensor) else value)
    address, n_threads = ctypes.addressof(record), min(n_tasks, torch.get_num_threads())
    for function in passes:
        record.counter = 0
        if n_threads == 1 or _forked.is_set():
            function.ctypes(address)
        elif _openmp() is not None:
            _openmp()(function.address, address, n_threads, 0)
        else:
            _in_python_threads(function, address, n_threads)


def _in_python_threads(function: Any, address: int, n: int) -> None:
    threads = [threading.Thread(target=function.ctypes, args=(address,)) for _ in range(n - 1)]
    for thread in threads:
        thread.start()
    function.ctypes(address)
    for thread in threads:
        thread.join()


def thread_count(batch: int, n_out: int, n_in: int) -> int:
    """Threads for a layer of this size."""
    if batch * n_out * n_in < _SMALL:
        return 1
    return torch.get_num_threads()


@functools.lru_cache(maxsize=256)
def split(batch: int, n_out: int, n_in: int, threads: int, backward: bool) -> Any:
    """Split the layer over outputs and rows: one line a thread.

    Splitting outputs needs a buffer a part for the input's gradient, splitting rows one for the
    parameters'. Among the splits whose buffers are small beside the problem the one with the
    least work a thread is taken; of equals the one with the fewest parts of rows.

    Returns:
        (thread, 6): first and last row, first and last output, part of outputs, part of rows.
    """

    def work(split: tuple[int, int]) -> tuple[int, int]:
        outs, rows = split
        return -(-n_out // outs) * -(-batch // (rows * loops.ROWS)), rows

    def memory(split: tuple[int, int]) -> int:
        outs, rows = split
        tiles = outs * min(batch * n_in, rows * loops.TILE)
        if not backward:
            return tiles
        return 2 * tiles + (outs - 1) * batch * n_in + (rows - 1) * 3 * n_out * n_in

    splits = [
        (outs, rows)
        for outs, rows in itertools.product(range(1, threads + 1), repeat=2)
        if outs * rows <= threads and outs <= n_out and rows <= -(-batch // loops.ROWS)
    ]
    limit = 2 * (2 * batch * (n_in + n_out) + 6 * n_out * n_in)
    outs, rows = min((s for s in splits if s == (1, 1) or memory(s) < limit), key=work)
    height = -(-batch // (rows * loops.ROWS)) * loops.ROWS
    return np.array(
        [
            (
                min(r * height, batch),
                min((r + 1) * height, batch),
                o * n_out // outs,
                (o + 1) * n_out // outs,
                o,
                r,
            )
            for o, r in itertools.product(range(outs), range(rows))
        ]
    )


def _saved_shapes(batch: Any, n_out: Any, n_in: Any) -> tuple[Any, Any]:
    """The sum of each score; each neuron's prepared constants, padded to whole vectors."""
    width = (n_in + LANES - 1) // LANES * LANES
    return (batch, n_out), (n_out, loops.SLOTS * width)


def layer_fields(problem: Problem) -> dict[str, Tensor | int]:
    """The fields of a call that both ways need."""
    tensors = {name: tensor.contiguous() for name, tensor in problem._asdict().items()}
    batch, (n_out, n_in) = problem.x.shape[0], problem.loc.shape
    return {**tensors, "batch": batch, "n_out": n_out, "n_in": n_in}


def _forward(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    x, batch, (n_out, n_in) = problem.x, problem.x.shape[0], problem.loc.shape
    score = x.new_empty(batch, n_out)
    total, constants = (x.new_empty(shape) for shape in _saved_shapes(batch, n_out, n_in))
    offsets = x.new_empty(n_out, dtype=torch.float64)
    results = {"score": score, "total": total, "constants": constants, "offsets": offsets}
    fields = {**layer_fields(problem), **results}
    if _mostly_zero(x, n_out):
        prepare, set_up, forward, _ = zeros.passes()
        blocks, buffers, is_zero = _zero_buffers(problem)
        run((prepare, set_up), blocks, **fields, **buffers)
        zero_sums = is_zero @ buffers["at_zero"]
        run((forward,), blocks, **fields, **buffers, zero_sums=zero_sums)
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
    if not need_x and _mostly_zero(x, n_out):
        _, set_up, _, backward = zeros.passes()
        blocks, buffers, is_zero = _zero_buffers(problem)
        run((set_up,), blocks, **fields, **buffers)
        weights = torch.where(total > 0, grad / total, 0.0)  # of far rows none
        weights = torch.nn.functional.pad(weights, (0, blocks * LANES - n_out))
        zero_weights = is_zero.t() @ weights
        run((backward,), blocks, **fields, **buffers, weights=weights, zero_sums=zero_weights)
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


def _mostly_zero(x: Tensor, n_out: int) -> bool:
    """Whether the way for inputs that are mostly zero pays, judged by a few rows."""
    if n_out < 2 * LANES or x.numel() < _MANY_INPUTS:
        return False
    some = x[:: max(1, len(x) // _SAMPLE)]
    return 2 * int(some.count_nonzero()) < some.numel()


def _zero_buffers(problem: Problem) -> tuple[int, dict[str, Tensor], Tensor]:
    """How many blocks of neurons; what `zeros` sets up; and the matrix of which inputs are 0."""
    x, batch, (n_out, n_in) = problem.x, problem.x.shape[0], problem.loc.shape
    blocks, lists = -(-n_out // LANES), -(-batch // zeros.HEIGHT)
    buffers = {
        "columns": x.new_empty(blocks, n_in, zeros.PARTS * LANES),
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
