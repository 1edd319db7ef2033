"""The compiled loops of the score on a CPU for neurons most of whose components are gone.

Notation as in `neuron`. A component whose logit is -inf is in no sum. Those that are *left* are
listed, neuron after neuron, with their inputs. The lanes of a vector are rows here, since no two
neurons look at the same inputs: a tile has 64 rows, one input's after the other's, and their sums
stay in registers while a neuron goes through its list.

Forward only: evaluation repays the lists.
"""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import ZERO
from ugmm.kernels.compiled.call import c_function, compiled
from ugmm.kernels.compiled.lanes import any_below, turn
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.threads import ROWS
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_terms,
    floats,
    integers,
    load,
    next_task,
    short_integers,
    splat,
    store,
)
from ugmm.kernels.mixture.far import NEAR, score_far_rows
from ugmm.kernels.mixture.neuron import OVERFLOW, layer_of, scores_of, tasks_of

__all__ = ["HEIGHT", "passes"]

HEIGHT = ROWS * LANES  # rows of a tile
PARTS = 3  # of a component: mean, rate and level


@compiled
def _turn_tile(x, tile, ordinary):
    """Copy rows into a tile, one input's after the other's; return whether all are ordinary.

    A row with a huge or non-finite input is not, and is left 0, as are rows that are not there.
    """
    height, n = x.shape
    flat, whole_rows, all_ordinary = x.reshape(x.size), height // LANES * LANES, True
    whole = n // LANES * LANES
    for b in range(0, whole_rows, LANES):
        for k in range(0, whole, LANES):
            turn(flat, b * n + k, n, tile, k * HEIGHT + b, HEIGHT)
        for k in range(whole, n):
            for i in range(b, b + LANES):
                tile[k * HEIGHT + i] = x[i, k]
    for b in range(HEIGHT):
        for k in range(n if b >= whole_rows else 0):
            tile[k * HEIGHT + b] = x[b, k] if b < height else ZERO
        ordinary[b] = True
    for b in range(height):
        bad = ZERO
        for k in range(n):
            scaled = x[b, k] * OVERFLOW
            bad += scaled - scaled  # inf - inf and NaN - NaN are NaN
        if bad != ZERO:
            ordinary[b] = all_ordinary = False
            for k in range(n):
                tile[k * HEIGHT + b] = ZERO
    return all_ordinary


@compiled
def _sums_of_neuron(tile, left, values, first, last):
    """The sums of 2**t of a tile's rows over a neuron's components, the first:last that are left.

    Means, rates and levels are values[0::3], values[1::3] and values[2::3].
    """
    s0, s1, s2, s3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for i in range(first, last):
        at, v = left[i] * HEIGHT, i * PARTS
        m, r, c = splat(values[v]), splat(values[v + 1]), splat(values[v + 2])
        x0, x1 = load(tile, at), load(tile, at + LANES)
        x2, x3 = load(tile, at + 2 * LANES), load(tile, at + 3 * LANES)
        s0, s1, s2, s3 = add_terms(s0, s1, s2, s3, x0, x1, x2, x3, m, r, c)
    return s0, s1, s2, s3


@compiled
def _forward_block(layer, min_scale, lists, offsets, score, task):
    """Scores and sums of the rows task[0]:task[1] and the outputs task[2]:task[3]."""
    x, loc, log_scale, logits, _, total = layer
    left, values, starts = lists
    n = loc.shape[1]
    tile, ordinary = np.empty(n * HEIGHT, np.float32), np.empty(HEIGHT, np.bool_)
    sums, logs, far = np.empty(HEIGHT, np.float32), np.empty(HEIGHT, np.float32), np.empty((4, n))
    all_known, no_weights = np.empty((0, n), np.uint8), np.empty((0, 0), np.float32)
    for start in range(task[0], task[1], HEIGHT):
        some = slice(start, min(start + HEIGHT, task[1]))
        any_far = not _turn_tile(x[some], tile, ordinary)
        for j in range(task[2], task[3]):
            s0, s1, s2, s3 = _sums_of_neuron(tile, left, values, starts[j], starts[j + 1])
            any_far |= any_below(s0, s1, s2, s3, splat(NEAR))
            offset = splat(np.float32(offsets[j]))
            store(sums, 0, s0)
            store(sums, LANES, s1)
            store(sums, 2 * LANES, s2)
            store(sums, 3 * LANES, s3)
            store(logs, 0, add(offset, log_scaled(s0, splat(ZERO))))
            store(logs, LANES, add(offset, log_scaled(s1, splat(ZERO))))
            store(logs, 2 * LANES, add(offset, log_scaled(s2, splat(ZERO))))
            store(logs, 3 * LANES, add(offset, log_scaled(s3, splat(ZERO))))
            for b in range(start, min(start + HEIGHT, task[1])):
                total[b, j] = sums[b - start]
                score[b, j] = logs[b - start]
        for j in range(task[2], task[3] if any_far else task[2]):
            rows = (x[some], all_known, total[some], no_weights, score[some], ordinary)
            score_far_rows(*rows, loc[j], log_scale[j], logits[j], min_scale, j, far)


def _forward(address):
    call = carray(address, 1)[0]
    layer, (offsets, score) = layer_of(call), scores_of(call)
    tasks = tasks_of(call)
    starts = carray(integers(call.starts), call.n_out + 1)
    count = starts[call.n_out]
    left = carray(short_integers(call.left), count)
    lists = (left, carray(floats(call.values), count * PARTS), starts)
    i = next_task(address)
    while i < call.n_tasks:
        _forward_block(layer, call.min_scale, lists, offsets, score, tasks[i])
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any]:
    """The C function of forward, as `loops.passes`."""
    return (c_function(_forward),)
