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

_FORWARD, _BACKWARD, _FINISH = range(3)
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

    def run(self, loop: int, tasks: int, *args: Any) -> None:
        if tasks == 1 or self._forked or not self._lock.acquire(blocking=False):
            _loops.SERIAL[loop](*args)
            return
        try:
            self._used = True
            before = numba.get_num_threads()
            numba.set_num_threads(tasks)
            try:
                _loops.PARALLEL[loop](*args)
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


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


def _forward(problem: Problem) -> tuple[Tensor, Tensor]:
    x, loc = problem.x, problem.loc
    batch, (n_out, n_in) = x.shape[0], loc.shape
    score, total = x.new_empty(batch, n_out), x.new_empty(batch, n_out)
    if batch:
        tasks = _tasks(batch, n_out, n_in, _thread_count(batch, n_out, n_in), False)
        _threads.run(_FORWARD, len(tasks), *_arrays(*problem, score, total), tasks)
    return score, total


def _backward(
    grad: Tensor, total: Tensor, problem: Problem, need_x: bool, need_parameters: bool
) -> tuple[Tensor, ...]:
    x, loc = problem.x, problem.loc
    batch, (n_out, n_in) = x.shape[0], loc.shape
    results = empty_gradients(x, loc, need_x, need_parameters)
    if not batch:
        return tuple(result.zero_() for result in results)
    tasks = _tasks(batch, n_out, n_in, _thread_count(batch, n_out, n_in), True)
    outs, rows = tasks[-1, 4:] + 1
    # The loops sum for the parameters in any case: that costs little and a branch as much.
    sums = results[1:] if need_parameters else [loc.new_empty(loc.shape) for _ in range(3)]
    sums = [sums[2], sums[0], sums[1]]  # of w, w * z and w * z**2: by logits, loc, log_scale
    more_dx = np.empty((outs - 1, batch if need_x else 0, n_in), np.float32)
    more_sums = np.empty((rows - 1, 3, n_out, n_in), np.float32)
    grad_array, total_array, *inputs = _arrays(grad, total, *problem)
    dx, *sum_arrays = _arrays(results[0], *sums)
    buffers = (dx, *sum_arrays, more_dx, more_sums)
    _threads.run(_BACKWARD, len(tasks), grad_array, total_array, *inputs, *buffers, need_x, tasks)
    finish = (grad_array, *inputs[2:], *buffers, need_parameters, len(tasks))
    if need_parameters or outs > 1:
        _threads.run(_FINISH, len(tasks), *finish)
    return results


CPU = register(
    Kernel(
        name="mixture_log_score_cpu",
        forward=_forward,
        backward=_backward,
        saved_shape=lambda batch, n_out: (batch, n_out),
        dispatch_key="CPU",
    )
)
