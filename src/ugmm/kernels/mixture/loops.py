"""The compiled loops of the score on a CPU: forward and backward of one layer, in float32.

Notation as in `neuron`. The near rows are written with explicit vectors (`compiled.vectors`), in
blocks of four rows, which lie in a tile that stays in the cache while all neurons pass over it.
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
from ugmm.kernels.compiled.threads import ROWS, TILE
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    add_terms,
    doubles,
    floats,
    integers,
    load,
    multiply,
    next_task,
    splat,
    store,
    subtract,
    sum_lanes,
)
from ugmm.kernels.mixture.neuron import (
    OVERFLOW,
    SLOTS,
    add_far_rows,
    finish_gradients,
    finish_scores,
    layer_of,
    near_pair,
    prepare_all,
)

__all__ = ["passes"]


@compiled
def _load_rows(x, start, stop, tile, width, ordinary):
    """Copy rows into a padded tile; a row with a huge or non-finite input is left 0."""
    n = x.shape[1]
    whole = n // LANES * LANES
    for b in range(start, stop):
        row, at = x[b], (b - start) * width
        bad = splat(ZERO)
        for k in range(0, whole, LANES):
            value = load(row, k)
            store(tile, at + k, value)
            scaled = multiply(value, splat(OVERFLOW))
            bad = add(bad, subtract(scaled, scaled))  # inf - inf and NaN - NaN are NaN
        bad_rest = sum_lanes(bad)
        for k in range(whole, n):
            tile[at + k] = row[k]
            bad_rest += row[k] * OVERFLOW - row[k] * OVERFLOW
        tile[at + n : at + width] = ZERO
        ordinary[b - start] = bad_rest == ZERO
        if not ordinary[b - start]:
            tile[at : at + width] = ZERO
    tile[(stop - start) * width :] = ZERO


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
def _height(task, width):
    """Rows in a tile."""
    rows = (task[1] - task[0] + ROWS - 1) // ROWS
    return min(max(TILE // width // ROWS, 1), rows) * ROWS


@compiled
def _forward_block(x, loc, log_scale, logits, constants, offsets, score, total, task):
    """Scores and sums of the rows task[0]:task[1] and the outputs task[2]:task[3]."""
    n = loc.shape[1]
    width = padded(n)
    height = _height(task, width)
    tile, ordinary = np.empty(height * width, np.float32), np.empty(height, np.bool_)
    far = np.empty((4, n))
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        _load_rows(x, start, stop, tile, width, ordinary)
        for j in range(task[2], task[3]):
            for b in range(start, stop, ROWS):
                sums = _near_sums(tile, (b - start) * width, constants[j])
                for i in range(min(ROWS, stop - b)):
                    total[b + i, j] = sums[i]
            rows = (x[start:stop], total[start:stop], score[start:stop], ordinary)
            finish_scores(*rows, loc[j], log_scale[j], logits[j], offsets[j], j, far)


@compiled
def _near_gradients(tile, dtile, at, constants, weights, sums, inputs):
    """Add four rows to the sums of w, w * z and w * z**2, which lie one after another."""
    width = constants.size // SLOTS
    w0, w1, w2, w3 = splat(weights[0]), splat(weights[1]), splat(weights[2]), splat(weights[3])
    for k in range(0, width, LANES):
        m, r, c = load(constants, k), load(constants, k + width), load(constants, k + 2 * width)
        s0, s1, s2 = load(sums, k), load(sums, width + k), load(sums, 2 * width + k)
        slope = multiply(r, splat(SLOPE))
        i0 = at + k
        i1, i2, i3 = i0 + width, i0 + 2 * width, i0 + 3 * width
        x0, x1 = load(tile, i0), load(tile, i1)
        s0, s1, s2, wz0, wz1 = near_pair(x0, x1, w0, w1, m, r, c, s0, s1, s2)
        if inputs:
            store(dtile, i0, add_product(load(dtile, i0), wz0, slope))
            store(dtile, i1, add_product(load(dtile, i1), wz1, slope))
        x2, x3 = load(tile, i2), load(tile, i3)
        s0, s1, s2, wz2, wz3 = near_pair(x2, x3, w2, w3, m, r, c, s0, s1, s2)
        if inputs:
            store(dtile, i2, add_product(load(dtile, i2), wz2, slope))
            store(dtile, i3, add_product(load(dtile, i3), wz3, slope))
        store(sums, k, s0)
        store(sums, width + k, s1)
        store(sums, 2 * width + k, s2)


@compiled
def _backward_block(grad, total, x, loc, log_scale, logits, constants, dx, sums, inputs, task):
    """The gradient by some rows, from some outputs; and those outputs' sums over the rows.

    The sums are of w, w * z and w * z**2, where w is a component's responsibility times the
    gradient of its score.
    """
    n = loc.shape[1]
    width = padded(n)
    height = _height(task, width)
    tile, ordinary = np.empty(height * width, np.float32), np.empty(height, np.bool_)
    dtile = np.empty(height * width if inputs else 0, np.float32)
    partial, weights = np.empty(3 * width, np.float32), np.empty(ROWS, np.float32)
    far = np.empty((4, n))
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        _load_rows(x, start, stop, tile, width, ordinary)
        dtile[:] = ZERO
        for j in range(task[2], task[3]):
            partial[:] = ZERO
            for b in range(start, stop, ROWS):
                at = (b - start) * width
                for i in range(ROWS):
                    near = b + i < stop and total[b + i, j] > ZERO
                    weights[i] = grad[b + i, j] / total[b + i, j] if near else ZERO
                _near_gradients(tile, dtile, at, constants[j], weights, partial, inputs)
            rows = (x[start:stop], total[start:stop], grad[start:stop])
            add_far_rows(*rows, loc[j], log_scale[j], logits[j], j, far, partial, dtile, inputs)
            for part in range(3):
                for k in range(n):
                    value = partial[part * width + k]
                    sums[part][j, k] = value if start == task[0] else sums[part][j, k] + value
        if inputs:
            for b in range(start, stop):
                dx[b] = dtile[(b - start) * width : (b - start) * width + n]


@compiled
def _add_parts(grad, constants, dx, more_dx, sums, more_sums, chunks, i):
    """Add the parts up, always in the same order, and turn the sums into gradients."""
    n_rows, n_out = dx.shape[0], constants.shape[0]
    for b in range(i * n_rows // chunks, (i + 1) * n_rows // chunks):
        for part in range(more_dx.shape[0]):
            dx[b] += more_dx[part, b]
    first, last = i * n_out // chunks, (i + 1) * n_out // chunks
    grad_sums = np.zeros(last - first)
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
    x, loc, log_scale, logits, constants, total = layer_of(call)
    offsets = carray(doubles(call.offsets), call.n_out)
    score = carray(floats(call.score), total.shape)
    tasks = carray(integers(call.tasks), (call.n_tasks, 6))
    i = next_task(address)
    while i < call.n_tasks:
        _forward_block(x, loc, log_scale, logits, constants, offsets, score, total, tasks[i])
        i = next_task(address)


def _backward(address):
    """Part 0 of the outputs or rows writes into the results, the others into buffers."""
    call = carray(address, 1)[0]
    x, loc, log_scale, logits, constants, total = layer_of(call)
    tasks = carray(integers(call.tasks), (call.n_tasks, 6))
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
        _backward_block(grad, total, x, loc, log_scale, logits, constants, d, s, inputs, task)
        i = next_task(address)


def _add_all(address):
    call = carray(address, 1)[0]
    constants = layer_of(call)[4]
    tasks = carray(integers(call.tasks), (call.n_tasks, 6))
    grad, dx, sums, more_dx, more_sums = _gradients(call, tasks)
    i = next_task(address)
    while i < call.n_tasks:
        _add_parts(grad, constants, dx, more_dx, sums, more_sums, call.n_tasks, i)
        i = next_task(address)


@functools.cache
def passes() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The C functions of forward and of backward, to be called one after the other.

    Each takes the address of a `CALL` and does tasks until none is left, so that any number of
    threads may be in it at once. They are compiled here, or loaded from the disk cache.
    """
    forward = c_function(prepare_all), c_function(_forward)
    return forward, (c_function(_backward), c_function(_add_all))
