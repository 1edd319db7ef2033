"""The compiled loops of the score on a CPU: forward and backward of one layer, in float32.

Notation as in `neuron`. The near rows are written with explicit vectors (`compiled.vectors`), in
blocks of four rows, which lie in a tile (`tiles`) that stays in the cache while all neurons pass
over it.
"""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import SLOPE, ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined, padded
from ugmm.kernels.compiled.threads import ROWS
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_powers,
    add_product,
    add_terms,
    floats,
    load,
    multiply,
    next_task,
    splat,
    store,
    subtract,
    subtract_product,
    sum_lanes,
    weigh_terms,
)
from ugmm.kernels.mixture.far import add_far_rows, finish_scores, subtract_kept
from ugmm.kernels.mixture.neuron import (
    SLOTS,
    finish_gradients,
    known_of,
    layer_of,
    near_pair,
    scores_of,
    tasks_of,
)
from ugmm.kernels.mixture.tiles import fill_tiles, make_tiles

__all__ = ["passes"]


@compiled
def _near_sums(tile, at, constants):
    """The sums of 2**t of four rows, the first of which begins at `at`."""
    width = constants.size // SLOTS
    total0, total1, total2, total3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for k in range(0, width, LANES):
        m, r, c = load(constants, k), load(constants, k + width), load(constants, k + 2 * width)
        i = at + k
        x0, x1 = load(tile, i), load(tile, i + width)
        x2, x3 = load(tile, i + 2 * width), load(tile, i + 3 * width)
        total0, total1, total2, total3 = add_terms(
            total0, total1, total2, total3, x0, x1, x2, x3, m, r, c
        )
    return sum_lanes(total0), sum_lanes(total1), sum_lanes(total2), sum_lanes(total3)


@inlined
def _exponent(x, constants, k, width):
    """The t of a vector of components."""
    z = multiply(subtract(x, load(constants, k)), load(constants, k + width))
    return subtract_product(load(constants, k + 2 * width), z, z)


@compiled
def _sums_of_one(tile, constants, first, last):
    """The sums of 2**t of one row: of four neurons, of which the last may be one several times.

    To the bit those of `_near_sums`, which would go through three rows that are not there.
    """
    a, b = constants[first], constants[min(first + 1, last)]
    c, d = constants[min(first + 2, last)], constants[min(first + 3, last)]
    total0, total1, total2, total3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    width = a.size // SLOTS
    for k in range(0, width, LANES):
        x = load(tile, k)
        t0, t1 = _exponent(x, a, k, width), _exponent(x, b, k, width)
        t2, t3 = _exponent(x, c, k, width), _exponent(x, d, k, width)
        total0, total1, total2, total3 = add_powers(total0, total1, total2, total3, t0, t1, t2, t3)
    return sum_lanes(total0), sum_lanes(total1), sum_lanes(total2), sum_lanes(total3)


@compiled
def _known_sums(tile, mask, at, constants):
    """As `_near_sums`, of the known inputs."""
    width = constants.size // SLOTS
    total0, total1, total2, total3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for k in range(0, width, LANES):
        m, r, c = load(constants, k), load(constants, k + width), load(constants, k + 2 * width)
        i0 = at + k
        i1, i2, i3 = i0 + width, i0 + 2 * width, i0 + 3 * width
        x0, x1, known0, known1 = load(tile, i0), load(tile, i1), load(mask, i0), load(mask, i1)
        _, _, w0, w1 = weigh_terms(x0, x1, known0, known1, m, r, c)
        x2, x3, known2, known3 = load(tile, i2), load(tile, i3), load(mask, i2), load(mask, i3)
        _, _, w2, w3 = weigh_terms(x2, x3, known2, known3, m, r, c)
        total0, total1 = add(total0, w0), add(total1, w1)
        total2, total3 = add(total2, w2), add(total3, w3)
    return sum_lanes(total0), sum_lanes(total1), sum_lanes(total2), sum_lanes(total3)


@compiled
def _sums_of_neuron(tile, mask, constants, total, j):
    """The sums of the rows of a tile."""
    width, count = constants.size // SLOTS, len(total)
    for b in range(0, count, ROWS):
        if mask.size > 0:
            sums = _known_sums(tile, mask, b * width, constants)
        else:
            sums = _near_sums(tile, b * width, constants)
        for i in range(min(ROWS, count - b)):
            total[b + i, j] = sums[i]


@compiled
def _forward_block(layer, rows_known, min_scale, offsets, score, task):
    """Scores and sums of the rows task[0]:task[1] and the outputs task[2]:task[3]."""
    x, loc, log_scale, logits, constants, total = layer
    known, kept = rows_known
    far = np.empty((4, loc.shape[1]))
    height, tile, mask, ordinary = make_tiles(task, loc.shape[1], kept.size > 0)
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        fill_tiles(x, known, start, stop, tile, mask, ordinary)
        some, alone = slice(start, stop), stop - start == 1 and mask.size == 0
        for j in range(task[2], task[3]):
            if not alone:
                _sums_of_neuron(tile, mask, constants[j], total[some], j)
            elif (j - task[2]) % ROWS == 0:
                sums = _sums_of_one(tile, constants, j, task[3] - 1)
                for i in range(min(ROWS, task[3] - j)):
                    total[start, j + i] = sums[i]
            rows = (x[some], known[some], total[some], kept[some], score[some], ordinary)
            neuron = (loc[j], log_scale[j], logits[j], min_scale, offsets[j])
            finish_scores(*rows, *neuron, j, far)


def _add_gradients(masked):
    """The function that adds four rows to the sums, where inputs are unknown or where not.

    The sums are of w, w * z and w * z**2, and lie one after another.
    """

    @compiled
    def add_gradients(tile, mask, dtile, at, constants, weights, sums, inputs):
        width = constants.size // SLOTS
        w0, w1 = splat(weights[0]), splat(weights[1])
        w2, w3 = splat(weights[2]), splat(weights[3])
        for k in range(0, width, LANES):
            m, r = load(constants, k), load(constants, k + width)
            c, slope = load(constants, k + 2 * width), multiply(r, splat(SLOPE))
            s0, s1, s2 = load(sums, k), load(sums, width + k), load(sums, 2 * width + k)
            i0 = at + k
            i1, i2, i3 = i0 + width, i0 + 2 * width, i0 + 3 * width
            v0, v1, v2, v3 = w0, w1, w2, w3
            if masked:
                v0, v1 = multiply(w0, load(mask, i0)), multiply(w1, load(mask, i1))
                v2, v3 = multiply(w2, load(mask, i2)), multiply(w3, load(mask, i3))
            x0, x1 = load(tile, i0), load(tile, i1)
            s0, s1, s2, wz0, wz1 = near_pair(x0, x1, v0, v1, m, r, c, s0, s1, s2)
            if inputs:
                store(dtile, i0, add_product(load(dtile, i0), wz0, slope))
                store(dtile, i1, add_product(load(dtile, i1), wz1, slope))
            x2, x3 = load(tile, i2), load(tile, i3)
            s0, s1, s2, wz2, wz3 = near_pair(x2, x3, v2, v3, m, r, c, s0, s1, s2)
            if inputs:
                store(dtile, i2, add_product(load(dtile, i2), wz2, slope))
                store(dtile, i3, add_product(load(dtile, i3), wz3, slope))
            store(sums, k, s0)
            store(sums, width + k, s1)
            store(sums, 2 * width + k, s2)

    return add_gradients


_near_gradients, _known_gradients = _add_gradients(False), _add_gradients(True)


@compiled
def _backward_block(grad, layer, rows_known, min_scale, dx, sums, inputs, task):
    """The gradient by some rows, from some outputs; and those outputs' sums over the rows.

    The sums are of w, w * z and w * z**2, where w is a component's responsibility times the
    gradient of its score.
    """
    x, loc, log_scale, logits, constants, total = layer
    known, kept = rows_known
    n = loc.shape[1]
    width, far = padded(n), np.empty((4, n))
    height, tile, mask, ordinary = make_tiles(task, n, kept.size > 0)
    dtile = np.empty(height * width if inputs else 0, np.float32)
    partial, weights = np.empty(3 * width, np.float32), np.empty(ROWS, np.float32)
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        fill_tiles(x, known, start, stop, tile, mask, ordinary)
        dtile[:] = ZERO
        for j in range(task[2], task[3]):
            partial[:] = ZERO
            for b in range(start, stop, ROWS):
                at = (b - start) * width
                for i in range(ROWS):
                    near = b + i < stop and total[b + i, j] > ZERO
                    weights[i] = grad[b + i, j] / total[b + i, j] if near else ZERO
                rows = (tile, mask, dtile, at)
                if mask.size > 0:
                    _known_gradients(*rows, constants[j], weights, partial, inputs)
                else:
                    _near_gradients(*rows, constants[j], weights, partial, inputs)
            rows = (x[start:stop], known[start:stop], total[start:stop], grad[start:stop])
            neuron = (loc[j], log_scale[j], logits[j], min_scale)
            add_far_rows(*rows, *neuron, j, far, partial, dtile, inputs)
            for part in range(3):
                for k in range(n):
                    value = partial[part * width + k]
                    sums[part][j, k] = value if start == task[0] else sums[part][j, k] + value
        if inputs:
            for b in range(start, stop):
                dx[b] = dtile[(b - start) * width : (b - start) * width + n]


@compiled
def _add_parts(grad, layer, rows_known, by_kept, dx, more_dx, sums, more_sums, chunks, i):
    """Add the parts up, always in the same order, and turn the sums into gradients."""
    _, _, _, logits, constants, total = layer
    known, kept = rows_known
    n_rows, n_out = dx.shape[0], constants.shape[0]
    for b in range(i * n_rows // chunks, (i + 1) * n_rows // chunks):
        for part in range(more_dx.shape[0]):
            dx[b] += more_dx[part, b]
    first, last = i * n_out // chunks, (i + 1) * n_out // chunks
    grad_sums = np.zeros(last - first)
    if kept.size == 0:
        for b in range(grad.shape[0]):
            for j in range(first, last):
                grad_sums[j - first] += np.float64(grad[b, j])
    for j in range(first, last):
        by_logits, by_loc, by_log_scale = sums[0][j], sums[1][j], sums[2][j]
        for part in range(more_sums.shape[0]):
            by_logits += more_sums[part, 0, j]
            by_loc += more_sums[part, 1, j]
            by_log_scale += more_sums[part, 2, j]
        finish_gradients(by_logits, by_loc, by_log_scale, constants[j], grad_sums[j - first])
        if kept.size > 0:
            subtract_kept(by_logits, constants[j], logits[j], grad, total, known, by_kept, j)


@inlined
def _gradients(call, tasks):
    """The arrays of grad, dx, the three sums; and buffers for the parts."""
    shape = (call.n_out, call.n_in)
    parts_out, parts_rows = tasks[-1, 4], tasks[-1, 5]
    return (
        carray(floats(call.grad), (call.batch, call.n_out)),
        carray(floats(call.dx), (call.dx_rows, call.n_in)),
        (
            carray(floats(call.by_logits), shape),
            carray(floats(call.by_loc), shape),
            carray(floats(call.by_log_scale), shape),
        ),
        carray(floats(call.more_dx), (parts_out, call.dx_rows, call.n_in)),
        carray(floats(call.more_sums), (parts_rows, 3, call.n_out, call.n_in)),
    )


def _forward(address):
    call = carray(address, 1)[0]
    layer, rows_known = layer_of(call), known_of(call)
    offsets, score = scores_of(call)
    tasks = tasks_of(call)
    i = next_task(address)
    while i < call.n_tasks:
        _forward_block(layer, rows_known, call.min_scale, offsets, score, tasks[i])
        i = next_task(address)


def _backward(address):
    """Part 0 of the outputs or rows writes into the results, the others into buffers."""
    call = carray(address, 1)[0]
    layer, rows_known = layer_of(call), known_of(call)
    tasks = tasks_of(call)
    grad, dx, sums, more_dx, more_sums = _gradients(call, tasks)
    inputs = call.dx_rows > 0
    i = next_task(address)
    while i < call.n_tasks:
        task = tasks[i]
        d, s = dx, sums
        if task[4] > 0:
            d = more_dx[task[4] - 1]
        if task[5] > 0:
            part = more_sums[task[5] - 1]
            s = (part[0], part[1], part[2])
        _backward_block(grad, layer, rows_known, call.min_scale, d, s, inputs, task)
        i = next_task(address)


def _add_all(address):
    call = carray(address, 1)[0]
    layer, rows_known = layer_of(call), known_of(call)
    tasks = tasks_of(call)
    grad, dx, sums, more_dx, more_sums = _gradients(call, tasks)
    by_kept = carray(floats(call.by_kept), (call.n_in, padded(call.n_out)))
    i = next_task(address)
    while i < call.n_tasks:
        parts = (dx, more_dx, sums, more_sums)
        _add_parts(grad, layer, rows_known, by_kept, *parts, call.n_tasks, i)
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any, tuple[Any, Any]]:
    """The C functions of forward and of backward, the latter to be called one after the other.

    Each takes the address of a `CALL` and does tasks until none is left, so that any number of
    threads may be in it at once. They are compiled here, or loaded from the disk cache.
    """
    return c_function(_forward), (c_function(_backward), c_function(_add_all))
