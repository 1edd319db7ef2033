"""Compiled loops over threads: how a layer is split into tasks, and how these are run."""

import ctypes
import functools
import itertools
import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ugmm.kernels.compiled.call import CALL
from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.problem import Problem

__all__ = [
    "ROWS",
    "TILE",
    "count_vectors",
    "layer_fields",
    "openmp",
    "run",
    "split",
    "thread_count",
]

ROWS = 4  # rows that share one load of a neuron's constants
TILE = 2**17  # floats in a block of rows: with its gradient 1 MiB, half a usual L2 cache
_SMALL = 2**15  # components: a smaller problem is done before a second thread has begun


def count_vectors(n: int) -> int:
    """How many vectors hold n numbers."""
    return -(-n // LANES)


def layer_fields(problem: Problem) -> dict[str, Tensor | float]:
    """The fields of a call that both ways need."""
    batch, (n_out, n_in) = problem.x.shape[0], problem.loc.shape
    return {
        "x": problem.x.contiguous(),
        "loc": problem.loc.contiguous(),
        "log_scale": problem.log_scale.contiguous(),
        "logits": problem.logits.contiguous(),
        "min_scale": problem.min_scale,
        "batch": batch,
        "n_out": n_out,
        "n_in": n_in,
    }


class _Record(ctypes.Structure):
    """What a C function takes: a `CALL`."""

    _fields_ = [
        (name, ctypes.c_double if CALL[name] == np.float64 else ctypes.c_int64)
        for name in CALL.names or ()
    ]


@functools.cache
def openmp() -> Any:
    """`GOMP_parallel` of the OpenMP runtime that torch itself runs on; None if it has another.

    Threads of our own would compete with torch's: those of each pool keep spinning for
    milliseconds after their work, on cores that those of the other then wait for. A symbol that
    is looked up in a library is also found in the libraries that it needs.
    """
    parallel = getattr(ctypes.CDLL(torch._C.__file__), "GOMP_parallel", None)
    if parallel is not None:
        parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        parallel.restype = None
    return parallel


_forked = threading.Event()  # OpenMP's threads do not survive a fork, and it waits for them
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)


def run(passes: Sequence[Any], n_tasks: int, **fields: Tensor | float) -> None:
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
        elif openmp() is not None:
            openmp()(function.address, address, n_threads, 0)
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


class Split(NamedTuple):
    """A layer's tasks.

    Attributes:
        lines: (task, 6): first and last row, first and last output, part of outputs and of rows.
        address: where the lines lie.
        more_outs: parts of outputs beyond the first.
        more_rows: parts of rows beyond the first.
    """

    lines: np.ndarray
    address: int
    more_outs: int
    more_rows: int


@functools.lru_cache(maxsize=256)
def split(
    batch: int, n_out: int, n_in: int, threads: int, backward: bool, rows_only: bool = False
) -> Split:
    """Split the layer over outputs and rows, or over rows only: one task a thread.

    Splitting outputs needs a buffer a part for the input's gradient, splitting rows one for the
    parameters'. Among the splits whose buffers are small beside the problem the one with the
    least work a thread is taken; of equals the one with the fewest parts of rows.
    """

    def work(split: tuple[int, int]) -> tuple[int, int]:
        outs, rows = split
        return -(-n_out // outs) * -(-batch // (rows * ROWS)), rows

    def memory(split: tuple[int, int]) -> int:
        outs, rows = split
        tiles = outs * min(batch * n_in, rows * TILE)
        if not backward:
            return tiles
        return 2 * tiles + (outs - 1) * batch * n_in + (rows - 1) * 3 * n_out * n_in

    most_outs = 1 if rows_only else n_out
    splits = [
        (outs, rows)
        for outs, rows in itertools.product(range(1, threads + 1), repeat=2)
        if outs * rows <= threads and outs <= most_outs and rows <= -(-batch // ROWS)
    ]
    limit = 2 * (2 * batch * (n_in + n_out) + 6 * n_out * n_in)
    outs, rows = min((s for s in splits if s == (1, 1) or memory(s) < limit), key=work)
    height = -(-batch // (rows * ROWS)) * ROWS
    lines = np.array(
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
    return Split(lines, lines.ctypes.data, outs - 1, rows - 1)
