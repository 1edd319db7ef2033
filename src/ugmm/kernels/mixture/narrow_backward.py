"""The compiled loops of `narrow` backward.

Of every block the sums over the rows lie one after another in a line: those of each input, like
a column, then those of the scores' gradients. A line and its columns are passed over by four rows
after four, so they have to stay in the first-level cache; of many neurons that is some blocks at
a time. A row's gradients are sums over the lanes: they are added up for all blocks first.
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
from ugmm.kernels.compiled.lanes import (
    any_below,
    load_some,
    prefetch,
    store_some,
    sum_across,
    sum_quarters,
    where_above,
)
from ugmm.kernels.compiled.threads import ROWS
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    divide,
    floats,
    load,
    multiply,
    next_task,
    splat,
    store,
)
from ugmm.kernels.mixture.columns import COLUMN, PARTS, put_sums, sums_of
from ugmm.kernels.mixture.far import add_far_rows, subtract_far_kept, subtract_near_kept
from ugmm.kernels.mixture.narrow import (
    ONE,
    ahead_of,
    height_of,
    lanes_of,
    load_tiles,
    make_all_columns,
    tiles_of,
)
from ugmm.kernels.mixture.neuron import (
    finish_gradients,
    known_of,
    layer_of,
    near_pair,
    tasks_of,
)

__all__ = ["line_size", "passes"]

CACHE = 2**14  # floats of lines and columns: 64 KiB, of which most stay in the first-level cache
FOUR = 4  # the lanes of a quarter of a vector


def line_size(n_in: int) -> int:
    """Floats of a block's sums."""
    return n_in * COLUMN + LANES


@inlined
def _weigh(grad, total, at, ahead, present, weights, to):
    """Store the weights of a block's scores in one row; return their gradients and sums.

    Lanes that are not there have a gradient of 0 and a sum of 1.
    """
    prefetch(grad, at + ahead)
    prefetch(total, at + ahead)
    g = load_some(grad, at, present, splat(ZERO))
    t = load_some(total, at, present, splat(ONE))
    store(weights, to, where_above(t, splat(ZERO), divide(g, t), splat(ZERO)))  # of far rows 0
    return g, t


@compiled
def _weigh_rows(grad, total, n_out, b, stop, first, weights, sums):
    """The weights of four rows' scores in some blocks; return whether a row is far."""
    any_far, end, ahead = False, sums.shape[1] - LANES, ahead_of(n_out)
    for i in range(len(sums)):
        at, to = b * n_out + (first + i) * LANES, i * ROWS * LANES
        some0, some1, some2, some3 = lanes_of(n_out, first + i, b, stop)
        g0, t0 = _weigh(grad, total, at, ahead, some0, weights, to)
        g1, t1 = _weigh(grad, total, at + n_out, ahead, some1, weights, to + LANES)
        g2, t2 = _weigh(grad, total, at + 2 * n_out, ahead, some2, weights, to + 2 * LANES)
        g3, t3 = _weigh(grad, total, at + 3 * n_out, ahead, some3, weights, to + 3 * LANES)
        any_far |= any_below(t0, t1, t2, t3, splat(ZERO))
        store(sums[i], end, add(load(sums[i], end), add(add(g0, g1), add(g2, g3))))
    return any_far


@inlined
def _slots(n):
    """Floats of a row's sums of w * z * rate: for each input a quarter of a vector, in fours."""
    return (n + FOUR - 1) // FOUR * LANES


def _add_gradients(masked):
    """The function that adds four rows, in some blocks, to the sums and to the rows' w * z * rate.

    There is one for where inputs are unknown and one for where not. In the tile the first row
    begins at `at`, in the slopes at `to`.
    """

    @compiled
    def add_gradients(tile, mask, at, columns, weights, sums, slopes, to, inputs):
        n = columns.shape[1] // COLUMN
        for k in range(n):
            i0 = at + k
            i1, i2, i3 = i0 + n, i0 + 2 * n, i0 + 3 * n
            x0, x1, x2, x3 = splat(tile[i0]), splat(tile[i1]), splat(tile[i2]), splat(tile[i3])
            d0, d1, d2, d3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
            at0, at1, at2 = k * COLUMN, k * COLUMN + LANES, k * COLUMN + 2 * LANES
            for i in range(len(columns)):
                column, line, w = columns[i], sums[i], i * ROWS * LANES
                m, r, c = load(column, at0), load(column, at1), load(column, at2)
                s0, s1, s2 = load(line, at0), load(line, at1), load(line, at2)
                w0, w1 = load(weights, w), load(weights, w + LANES)
                w2, w3 = load(weights, w + 2 * LANES), load(weights, w + 3 * LANES)
                if masked:
                    w0, w1 = multiply(w0, splat(mask[i0])), multiply(w1, splat(mask[i1]))
                    w2, w3 = multiply(w2, splat(mask[i2])), multiply(w3, splat(mask[i3]))
                s0, s1, s2, wz0, wz1 = near_pair(x0, x1, w0, w1, m, r, c, s0, s1, s2)
                s0, s1, s2, wz2, wz3 = near_pair(x2, x3, w2, w3, m, r, c, s0, s1, s2)
                store(line, at0, s0)
                store(line, at1, s1)
                store(line, at2, s2)
                if inputs:
                    d0, d1 = add_product(d0, wz0, r), add_product(d1, wz1, r)
                    d2, d3 = add_product(d2, wz2, r), add_product(d3, wz3, r)
            if inputs:
                total = add(load(slopes, to + k * LANES), sum_quarters(d0, d1, d2, d3))
                store(slopes, to + k * LANES, total)

    return add_gradients


_near_gradients, _known_gradients = _add_gradients(False), _add_gradients(True)


@compiled
def _finish_inputs(slopes, dx):
    """Turn the sums over blocks of w * z * rate into gradients."""
    count, n = dx.shape
    flat, slope = dx.reshape(dx.size), splat(SLOPE)
    for b in range(0, count, ROWS):
        for k in range(0, n, FOUR):
            some, at, to = min(FOUR, n - k), b * _slots(n) + k * LANES, b * n + k
            v0, v1 = load(slopes, at), load(slopes, at + LANES)
            v2, v3 = load(slopes, at + 2 * LANES), load(slopes, at + 3 * LANES)
            v0, v1, v2, v3 = sum_across(v0, v1, v2, v3)
            store_some(flat, to, some, multiply(v0, slope))
            store_some(flat, to + n, some * (b + 1 < count), multiply(v1, slope))
            store_some(flat, to + 2 * n, some * (b + 2 < count), multiply(v2, slope))
            store_some(flat, to + 3 * n, some * (b + 3 < count), multiply(v3, slope))


@compiled
def _add_far(rows, loc, log_scale, logits, min_scale, sums, dx, inputs):
    """Add the far rows to the sums of all blocks and to their inputs' gradients."""
    n_out, n = loc.shape
    partial, far, flat = np.empty(PARTS * n, np.float32), np.empty((4, n)), dx.reshape(dx.size)
    for j in range(n_out):
        line, lane = sums[j // LANES], j % LANES
        sums_of(lane, line, partial)
        neuron = (loc[j], log_scale[j], logits[j], min_scale)
        add_far_rows(*rows, *neuron, j, far, partial, flat, inputs)
        put_sums(lane, line, partial)


@compiled
def _add_line(line, other):
    for at in range(0, line.size, LANES):
        store(line, at, add(load(line, at), load(other, at)))


@compiled
def _backward_block(grad, layer, known, min_scale, columns, dx, sums, inputs, task):
    """The gradient by the rows task[0]:task[1]; and the sums over them."""
    x, loc, log_scale, logits, _, total = layer
    n_out, n = loc.shape
    height, step = height_of(task), max(1, CACHE // (2 * columns.shape[1]))
    tile, mask, ordinary = tiles_of(height, n, known.size > 0)
    slopes = np.empty(height * _slots(n) if inputs else 0, np.float32)
    weights = np.empty(step * ROWS * LANES, np.float32)
    all_grad, all_total = grad.reshape(grad.size), total.reshape(total.size)
    part = np.empty_like(sums)  # of a tile: in one sum over many rows digits would be lost
    sums[:] = ZERO
    for start in range(task[0], task[1], height):
        part[:] = ZERO
        stop, any_far = min(start + height, task[1]), False
        rows = slice(start, stop)
        load_tiles(x[rows], known[rows], tile, mask, ordinary)
        slopes[:] = ZERO
        for first in range(0, len(columns), step):
            some, lines = columns[first : first + step], part[first : first + step]
            for b in range(start, stop, ROWS):
                any_far |= _weigh_rows(all_grad, all_total, n_out, b, stop, first, weights, lines)
                at, to = (b - start) * n, (b - start) * _slots(n)
                if mask.size > 0:
                    _known_gradients(tile, mask, at, some, weights, lines, slopes, to, inputs)
                else:
                    _near_gradients(tile, mask, at, some, weights, lines, slopes, to, inputs)
        if inputs:
            _finish_inputs(slopes, dx[rows])
        if any_far:
            of_rows = (x[rows], known[rows], total[rows], grad[rows])
            _add_far(of_rows, loc, log_scale, logits, min_scale, part, dx[rows], inputs)
        for i in range(len(sums)):
            _add_line(sums[i], part[i])


@inlined
def _sums(call):
    """A line for each part of the rows and each block."""
    blocks = padded(call.n_out) // LANES
    return carray(floats(call.more_sums), (call.n_tasks, blocks, call.n_in * COLUMN + LANES))


def _backward(address):
    call = carray(address, 1)[0]
    layer, known = layer_of(call), known_of(call)[0]
    tasks = tasks_of(call)
    grad = carray(floats(call.grad), (call.batch, call.n_out))
    dx = carray(floats(call.dx), (call.dx_rows, call.n_in))
    sums, inputs = _sums(call), call.dx_rows > 0
    i = next_task(address)
    while i < call.n_tasks:
        columns, rest = make_all_columns(layer[4], call.n_in), (dx, sums[i], inputs, tasks[i])
        _backward_block(grad, layer, known, call.min_scale, columns, *rest)
        i = next_task(address)


@compiled
def _add_parts(sums):
    """Add the parts of a block up, always in the same order."""
    for part in range(1, len(sums)):
        _add_line(sums[0], sums[part])


@compiled
def _subtract_far_kept(by_logits, logits, grad, total, known, first):
    """Take off what the sums of kept weights take off in the far rows of a block."""
    n_out, flat = len(logits), total.reshape(total.size)
    last = min(first + LANES, n_out)
    for b in range(len(grad)):
        t = load_some(flat, b * n_out + first, last - first, splat(ONE))
        if any_below(t, t, t, t, splat(ZERO)):
            for j in range(first, last):
                if not total[b, j] > ZERO:
                    subtract_far_kept(by_logits[j], logits[j], grad[b, j], known[b])


def _finish(address):
    """Turn the sums into the gradients by the parameters."""
    call = carray(address, 1)[0]
    _, loc, _, logits, constants, total = layer_of(call)
    known, grad = known_of(call)[0], carray(floats(call.grad), total.shape)
    by_loc = carray(floats(call.by_loc), loc.shape)
    by_log_scale = carray(floats(call.by_log_scale), loc.shape)
    by_logits = carray(floats(call.by_logits), loc.shape)
    by_kept = carray(floats(call.by_kept), (call.n_in, padded(call.n_out)))
    sums, n = _sums(call), call.n_in
    partial, blocks = np.empty(PARTS * n, np.float32), sums.shape[1]
    i = next_task(address)
    while i < call.n_tasks:
        for block in range(i * blocks // call.n_tasks, (i + 1) * blocks // call.n_tasks):
            _add_parts(sums[:, block])
            line, first = sums[0, block], block * LANES
            for j in range(first, min(first + LANES, call.n_out)):
                sums_of(j - first, line, partial)
                by_logits[j] = partial[:n]
                by_loc[j] = partial[n : 2 * n]
                by_log_scale[j] = partial[2 * n :]
                grad_sum = line[n * COLUMN + j - first] if known.size == 0 else ZERO
                finish_gradients(by_logits[j], by_loc[j], by_log_scale[j], constants[j], grad_sum)
                if known.size > 0:
                    subtract_near_kept(by_logits[j], constants[j], by_kept, j)
            if known.size > 0:
                _subtract_far_kept(by_logits, logits, grad, total, known, first)
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any, Any]:
    """The C functions of backward, as `loops.passes`."""
    return c_function(_backward), c_function(_finish)
