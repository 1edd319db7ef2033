"""The operation on a CPU in float32: compiled loops (`_loops`), split over threads."""

import functools
import itertools
import os
import threading
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ugmm.kernels import _loops
from ugmm.kernels.operator import Kernel, Problem, empty_gradients, register

__all__ = ["CPU"]

_SMALL = 2**15  # components: a smaller problem is done before a second thread has begun


class _Threads:
    """Runs the loops in Numba's threads, or in the calling thread where those are not safe.

    Numba's threads do not survive a fork (under OpenMP the child would be killed at their next
    use), and under some threading layers two Python threads may not use them at once. In both
    cases the same tasks run one after another in the calling thread. The result is the same:
    the tasks depend on the number of threads asked for only.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = self._forked = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._forked = self._used

    def run(self, loops: tuple[Any, Any], *args: Any, tasks: Any) -> None:
        serial, parallel = loops
        n = len(tasks)
        if n == 1 or self._forked or not self._lock.acquire(blocking=False):
            serial(*args, tasks)
            return
        try:
            self._used = True
            before = numba.get_num_threads()
            numba.set_num_threads(n)
            try:
                parallel(*args, tasks)
            finally:
                numba.set_num_threads(before)
        finally:
            self._lock.release()


_threads = _Threads()


def _thread_count(batch: int, n_out: int, n_in: int) -> int:
    if batch * n_out * n_in < _SMALL:
        return 1
    return min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=256)
def _tasks(batch: int, n_out: int, n_in: int, threads: int, backward: bool) -> Any:
    """Split the layer over outputs and rows: one line a thread.

    Splitting outputs needs a buffer a part for the input's gradient, splitting rows one for the
    parameters'. Among the splits whose buffers are small beside the problem the one with the
    least work a thread is taken; of equals the one with the fewest parts of rows, since every
    part of rows prepares its neurons anew.

    Returns:
        (thread, 6): first and last row, first and last output, part of outputs, part of rows.
    """

    def work(split: tuple[int, int]) -> tuple[int, int]:
        outs, rows = split
        return -(-n_out // outs) * -(-batch // (rows * _loops.ROWS)), rows

    def memory(split: tuple[int, int]) -> int:
        outs, rows = split
        tiles = outs * min(batch * n_in, rows * _loops.TILE)
        if not backward:
            return tiles
        return 2 * tiles + (outs - 1) * batch * n_in + (rows - 1) * 3 * n_out * n_in

    splits = [
        (outs, rows)
        for outs, rows in itertools.product(range(1, threads + 1), repeat=2)
        if outs * rows <= threads and outs <= n_out and rows <= -(-batch // _loops.ROWS)
    ]
    limit = 2 * (2 * batch * (n_in + n_out) + 6 * n_out * n_in)
    outs, rows = min((s for s in splits if s == (1, 1) or memory(s) < limit), key=work)
    height = -(-batch // (rows * _loops.ROWS)) * _loops.ROWS
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


def _addresses(*tensors: Tensor) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in tensors)


def _saved_shapes(batch: Any, n_out: Any, n_in: Any) -> tuple[Any, Any]:
    """The sum of each score; each neuron's prepared constants, padded to whole vectors."""
    width = (n_in + _loops.LANES - 1) // _loops.LANES * _loops.LANES
    return (batch, n_out), (n_out, _loops.SLOTS * width)


def _forward(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    x, *parameters = (tensor.contiguous() for tensor in problem)
    batch, n_in, n_out = *x.shape, parameters[0].shape[0]
    score = x.new_empty(batch, n_out)
    total, constants = (x.new_empty(shape) for shape in _saved_shapes(batch, n_out, n_in))
    if batch:
        tasks = _tasks(batch, n_out, n_in, _thread_count(batch, n_out, n_in), False)
        layer = _addresses(x, *parameters, constants, total)
        _threads.run(_loops.FORWARD, layer, score.data_ptr(), batch, n_out, n_in, tasks=tasks)
    return score, total, constants


def _backward(
    grad: Tensor,
    total: Tensor,
    constants: Tensor,
    problem: Problem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    x, *parameters = (tensor.contiguous() for tensor in problem)
    batch, n_in, n_out = *x.shape, parameters[0].shape[0]
    if not batch:
        results = empty_gradients(x, parameters[0], need_x, need_parameters)
        return tuple(result.zero_() for result in results)
    tasks = _tasks(batch, n_out, n_in, _thread_count(batch, n_out, n_in), True)
    # The loops sum for the parameters in any case: that costs little and a branch as much.
    dx, by_loc, by_log_scale, by_logits = empty_gradients(x, parameters[0], need_x, True)
    grad = grad.contiguous()
    layer = _addresses(x, *parameters, constants, total)
    gradients = _addresses(grad, dx, by_logits, by_loc, by_log_scale)
    sizes = (batch, n_out, n_in, batch if need_x else 0)
    _threads.run(_loops.BACKWARD, layer, gradients, *sizes, tasks=tasks)
    if need_parameters:
        return dx, by_loc, by_log_scale, by_logits
    return dx, *(loc.new_empty(0, 0) for loc in parameters)


CPU = register(
    Kernel(
        name="mixture_log_score_cpu",
        forward=_forward,
        backward=_backward,
        saved_shapes=_saved_shapes,
        dispatch_key="CPU",
    )
)
