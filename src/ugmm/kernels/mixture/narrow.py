"""The compiled loops of the score on a CPU for few inputs, as convolutions and tables have.

Notation as in `neuron`. Where a neuron has few inputs, vectors of inputs would be filled badly,
and each score's own work, to add up the lanes and to take a logarithm, would outlast its
exponentials. So the lanes of a vector are the neurons of a *block* here (`columns`): a score is a
lane, and its logarithm one of 16. Four rows go in step, and their sums stay in registers. So
little is computed for a score that memory would be waited for, which is therefore asked for ahead.

Forward is here, and what both ways need; backward is in `narrow_backward`.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined, padded
from ugmm.kernels.compiled.lanes import any_below, load_some, prefetch, store_some
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.threads import ROWS
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_terms,
    divide,
    load,
    multiply,
    next_task,
    splat,
    subtract,
    sum_lanes,
    weigh_terms,
)
from ugmm.kernels.mixture.columns import COLUMN, make_columns
from ugmm.kernels.mixture.far import NEAR, score_far_rows
from ugmm.kernels.mixture.neuron import (
    OVERFLOW,
    known_of,
    layer_of,
    scores_of,
    tasks_of,
)

__all__ = [
    "ONE",
    "ahead_of",
    "height_of",
    "lanes_of",
    "load_tiles",
    "make_all_columns",
    "passes",
    "tiles_of",
]

AHEAD = 1024  # floats: a page of memory
ONE = np.float32(1.0)
HEIGHT = 256  # rows of a tile, at most


@inlined
def height_of(task):
    """Rows of a tile."""
    return min(HEIGHT, (task[1] - task[0] + ROWS - 1) // ROWS * ROWS)


@inlined
def ahead_of(n_out):
    """How many floats ahead the rows of scores are asked for: whole rows."""
    return max(ROWS, AHEAD // n_out) * n_out


@inlined
def lanes_of(n_out, block, b, stop):
    """How many lanes there are from a block's first on in four rows: none past the last row."""
    some = n_out - block * LANES
    return some, some * (b + 1 < stop), some * (b + 2 < stop), some * (b + 3 < stop)


@compiled
def make_all_columns(constants, n_in):
    """The columns of all blocks, one line each."""
    blocks = padded(len(constants)) // LANES
    columns = np.empty((blocks, n_in * COLUMN), np.float32)
    for i in range(blocks):
        make_columns(constants, columns[i], i)
    return columns


@inlined
def tiles_of(height, n, masked):
    """Room for a tile of rows, for which of its inputs are known, and which rows are ordinary."""
    mask = np.empty(height * n if masked else 0, np.float32)
    return np.empty(height * n, np.float32), mask, np.empty(height, np.bool_)


@compiled
def load_tiles(x, known, tile, mask, ordinary):
    """Copy rows into a tile and fill it up with 0; return whether all are ordinary.

    A row with a huge or non-finite input is not, and is left 0. Where inputs are unknown they are
    0 too, and the mask has 1 for each known one and else 0.
    """
    flat, bad = x.reshape(x.size), splat(ZERO)
    if mask.size > 0:
        flags = known.reshape(known.size)
        for i in range(x.size):
            mask[i] = np.float32(flags[i] != 0)
            tile[i] = flat[i] if flags[i] else ZERO
        mask[x.size :] = ONE
    else:
        for i in range(0, x.size, LANES):
            store_some(tile, i, x.size - i, load_some(flat, i, x.size - i, splat(ZERO)))
    tile[x.size :] = ZERO
    for i in range(0, x.size, LANES):
        scaled = multiply(load_some(tile, i, x.size - i, splat(ZERO)), splat(OVERFLOW))
        bad = add(bad, subtract(scaled, scaled))  # inf - inf and NaN - NaN are NaN
    ordinary[:] = True
    return sum_lanes(bad) == ZERO or _mark_rows(tile, ordinary)


@compiled
def _mark_rows(tile, ordinary):
    """Set the rows of a tile that are not ordinary to 0, and mark them; there are some."""
    n = tile.size // ordinary.size
    for b in range(ordinary.size):
        row = tile[b * n : (b + 1) * n]
        for k in range(n):
            scaled = row[k] * OVERFLOW
            if scaled - scaled != ZERO:
                ordinary[b] = False
        if not ordinary[b]:
            row[:] = ZERO
    return False


@compiled
def _near_sums(tile, at, column):
    """The sums of 2**t of four rows, the first of which begins at `at`, for a block."""
    n = column.size // COLUMN
    total0, total1, total2, total3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for k in range(n):
        i, m = at + k, load(column, k * COLUMN)
        r, c = load(column, k * COLUMN + LANES), load(column, k * COLUMN + 2 * LANES)
        x0, x1 = splat(tile[i]), splat(tile[i + n])
        x2, x3 = splat(tile[i + 2 * n]), splat(tile[i + 3 * n])
        total0, total1, total2, total3 = add_terms(
            total0, total1, total2, total3, x0, x1, x2, x3, m, r, c
        )
    return total0, total1, total2, total3


@compiled
def _known_sums(tile, mask, at, column):
    """As `_near_sums`, of the known inputs."""
    n = column.size // COLUMN
    total0, total1, total2, total3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for k in range(n):
        i0, m = at + k, load(column, k * COLUMN)
        r, c = load(column, k * COLUMN + LANES), load(column, k * COLUMN + 2 * LANES)
        i1, i2, i3 = i0 + n, i0 + 2 * n, i0 + 3 * n
        x0, x1, known0, known1 = splat(tile[i0]), splat(tile[i1]), splat(mask[i0]), splat(mask[i1])
        _, _, w0, w1 = weigh_terms(x0, x1, known0, known1, m, r, c)
        x2, x3, known2, known3 = splat(tile[i2]), splat(tile[i3]), splat(mask[i2]), splat(mask[i3])
        _, _, w2, w3 = weigh_terms(x2, x3, known2, known3, m, r, c)
        total0, total1 = add(total0, w0), add(total1, w1)
        total2, total3 = add(total2, w2), add(total3, w3)
    return total0, total1, total2, total3


@inlined
def _write(total, kept, score, at, ahead, present, value, offset, masked):
    """Store the sums and scores of a block in one row; return the kept weights' sums."""
    prefetch(total, at + ahead)
    prefetch(score, at + ahead)
    store_some(total, at, present, value)
    weights = splat(ONE)
    if masked:
        weights = load_some(kept, at, present, weights)
        value = divide(value, weights)
    store_some(score, at, present, add(offset, log_scaled(value, splat(ZERO))))
    return weights


def _score_tile(masked):
    """The function that scores the rows of a tile, where inputs are unknown or where not.

    It returns whether a row is far.
    """

    @compiled
    def score_tile(tile, mask, columns, offsets, total, kept, score, n_out, start, stop):
        n, ahead, any_far = columns.shape[1] // COLUMN, ahead_of(n_out), False
        for b in range(start, stop, ROWS):
            for i in range(len(columns)):
                if masked:
                    t0, t1, t2, t3 = _known_sums(tile, mask, (b - start) * n, columns[i])
                else:
                    t0, t1, t2, t3 = _near_sums(tile, (b - start) * n, columns[i])
                any_far |= any_below(t0, t1, t2, t3, splat(NEAR))
                some0, some1, some2, some3 = lanes_of(n_out, i, b, stop)
                at0, offset = b * n_out + i * LANES, load(offsets, i * LANES)
                at1, at2, at3 = at0 + n_out, at0 + 2 * n_out, at0 + 3 * n_out
                k0 = _write(total, kept, score, at0, ahead, some0, t0, offset, masked)
                k1 = _write(total, kept, score, at1, ahead, some1, t1, offset, masked)
                k2 = _write(total, kept, score, at2, ahead, some2, t2, offset, masked)
                k3 = _write(total, kept, score, at3, ahead, some3, t3, offset, masked)
                if masked:
                    any_far |= any_below(k0, k1, k2, k3, splat(NEAR))
        return any_far

    return score_tile


_score_near, _score_known = _score_tile(False), _score_tile(True)


@compiled
def _forward_block(layer, rows_known, min_scale, columns, offsets, score, task):
    """Scores and sums of the rows task[0]:task[1]."""
    x, loc, log_scale, logits, _, total = layer
    known, kept = rows_known
    n_out, n = loc.shape
    height = height_of(task)
    tile, mask, ordinary = tiles_of(height, n, kept.size > 0)
    scores = (total.reshape(total.size), kept.reshape(kept.size), score.reshape(score.size))
    rounded, far = np.zeros(len(columns) * LANES, np.float32), np.empty((4, n))
    rounded[:n_out] = offsets
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        some = slice(start, stop)
        ordinary_rows = load_tiles(x[some], known[some], tile, mask, ordinary)
        if mask.size > 0:
            far_rows = _score_known(tile, mask, columns, rounded, *scores, n_out, start, stop)
        else:
            far_rows = _score_near(tile, mask, columns, rounded, *scores, n_out, start, stop)
        if far_rows or not ordinary_rows:
            rows = (x[some], known[some], total[some], kept[some], score[some], ordinary)
            for j in range(n_out):
                score_far_rows(*rows, loc[j], log_scale[j], logits[j], min_scale, j, far)


def _forward(address):
    call = carray(address, 1)[0]
    layer, rows_known = layer_of(call), known_of(call)
    offsets, score = scores_of(call)
    tasks = tasks_of(call)
    i = next_task(address)
    while i < call.n_tasks:
        columns = make_all_columns(layer[4], call.n_in)
        _forward_block(layer, rows_known, call.min_scale, columns, offsets, score, tasks[i])
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any]:
    """The C function of forward, as `loops.passes`."""
    return (c_function(_forward),)
