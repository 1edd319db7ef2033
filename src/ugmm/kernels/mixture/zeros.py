"""The compiled loops of the score on a CPU for inputs that are mostly zero, as pixels are.

A component whose input is 0 has the same value in every row, 2**t0_k. So in the notation of
`neuron` forward's sum over the inputs is

    sum_{k: x_k = 0} 2**t0_k  +  sum_{k: x_k != 0} 2**t_k

whose first part is a product of two matrices, (x == 0) and 2**t0, and only the second needs
exponentials. Backward's sums over the rows split likewise: with G the scores' gradient divided by
their sum, (x == 0)^T G holds, of every component, the weight of all rows whose input is 0.
Nothing is approximated, and as nothing is subtracted no digits are lost. An input that is not
known is neither: it is in no list, and 0 in that matrix.

The lanes of a vector are the neurons of a *block* (`columns`), and the rows whose input k is not
0 are listed: four of them go through their exponentials in step. The lists are of `HEIGHT` rows at
most, whose sums, of one block, stay in the first-level cache.
"""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined
from ugmm.kernels.compiled.lanes import turn, where_flagged
from ugmm.kernels.compiled.threads import ROWS
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_terms,
    exp2,
    flags,
    floats,
    load,
    multiply,
    next_task,
    short_integers,
    shorts,
    splat,
    store,
    subtract,
    subtract_product,
)
from ugmm.kernels.mixture.columns import COLUMN, PARTS, make_columns, turn_sums
from ugmm.kernels.mixture.far import add_far_rows, finish_scores, subtract_kept
from ugmm.kernels.mixture.neuron import (
    LARGEST,
    finish_gradients,
    known_of,
    layer_of,
    near_pair,
    scores_of,
)

__all__ = ["HEIGHT", "passes"]

HEIGHT = 256  # rows in a list, at most
SPARE = HEIGHT * LANES  # where the row begins that fills lists up to whole groups of rows


@inlined
def _blocks_of(call):
    """The blocks' columns, and their values at 0."""
    blocks = (call.n_out + LANES - 1) // LANES
    return (
        carray(floats(call.columns), (blocks, call.n_in, COLUMN)),
        carray(floats(call.at_zero), call.n_in * blocks * LANES),
    )


@inlined
def _lists_of(call):
    """The lists; and which rows are usual."""
    lists = (call.batch + HEIGHT - 1) // HEIGHT
    return (
        carray(floats(call.values), (lists, call.n_in, HEIGHT)),
        carray(shorts(call.rows), (lists, call.n_in, HEIGHT)),
        carray(short_integers(call.counts), (lists, call.n_in)),
        carray(flags(call.ordinary), call.batch),
    )


@compiled
def _values_at_zero(columns, at_zero, first):
    """Compute 2**t of an input 0 for a block's neurons, the first of which is `first`."""
    n_in = columns.shape[0]
    row = at_zero.size // n_in
    for k in range(n_in):
        m, r, c = load(columns[k], 0), load(columns[k], LANES), load(columns[k], 2 * LANES)
        z = multiply(subtract(splat(ZERO), m), r)
        store(at_zero, k * row + first, exp2(subtract_product(c, z, z)))


@compiled
def _load_columns(x, known, first, last, tile):
    """The known inputs first:last of rows, one input's after the other's; unknown ones are 0."""
    height, n = x.shape
    flat, flags, square = x.reshape(x.size), known.reshape(known.size), tile[LANES * HEIGHT :]
    whole = height // LANES * LANES if last - first == LANES else 0
    for b in range(0, whole, LANES):
        if known.size == 0:
            turn(flat, b * n + first, n, tile, b, HEIGHT)
            continue
        for i in range(LANES):
            at = (b + i) * n + first
            store(square, i * LANES, where_flagged(flags, at, load(flat, at)))
        turn(square, 0, LANES, tile, b, HEIGHT)
    for b in range(whole, height):
        for k in range(first, last):
            here = known.size == 0 or known[b, k]
            tile[(k - first) * HEIGHT + b] = x[b, k] if here else ZERO


@compiled
def _make_lists(x, known, values, rows, counts, ordinary, first, last, tile):
    """List what is not 0 of the inputs first:last; a huge or non-finite input marks its row."""
    for k in range(first, last):
        if (k - first) % LANES == 0:
            _load_columns(x, known, k, min(k + LANES, last), tile)
        n, column = 0, tile[(k - first) % LANES * HEIGHT :]
        for b in range(x.shape[0]):
            value = column[b]
            usual = abs(value) < LARGEST  # neither is an infinite one nor a NaN
            if not usual:
                ordinary[b] = 0
            values[k, n], rows[k, n] = value, b * LANES
            n += np.intp(usual) & np.intp(value != ZERO)  # not `and`, which would be a branch
        while n % ROWS:
            values[k, n], rows[k, n] = ZERO, SPARE
            n += 1
        counts[k] = n


def _make_all_columns(address):
    call = carray(address, 1)[0]
    constants = layer_of(call)[4]
    columns, at_zero = _blocks_of(call)
    i = next_task(address)
    while i < call.n_tasks:
        make_columns(constants, columns[i].reshape(columns[i].size), i)
        _values_at_zero(columns[i], at_zero, i * LANES)
        i = next_task(address)


def _make_all_lists(address):
    call = carray(address, 1)[0]
    x, known = layer_of(call)[0], known_of(call)[0]
    values, rows, counts, ordinary = _lists_of(call)
    tile = np.empty(LANES * (HEIGHT + LANES), np.float32)
    i = next_task(address)
    while i < call.n_tasks:
        first, last = i * call.n_in // call.n_tasks, (i + 1) * call.n_in // call.n_tasks
        for part in range(len(counts)):
            some = slice(part * HEIGHT, (part + 1) * HEIGHT)
            lists = (values[part], rows[part], counts[part], ordinary[some])
            _make_lists(x[some], known[some], *lists, first, last, tile)
        i = next_task(address)


@compiled
def _add_listed(columns, values, rows, counts, tile):
    """Add the listed rows' 2**t to their sums in the tile."""
    for k in range(len(counts)):
        column = columns[k]
        m, r, c = load(column, 0), load(column, LANES), load(column, 2 * LANES)
        for i in range(0, counts[k], ROWS):
            a0, a1, a2, a3 = rows[k, i], rows[k, i + 1], rows[k, i + 2], rows[k, i + 3]
            x0, x1 = splat(values[k, i]), splat(values[k, i + 1])
            x2, x3 = splat(values[k, i + 2]), splat(values[k, i + 3])
            s0, s1, s2, s3 = load(tile, a0), load(tile, a1), load(tile, a2), load(tile, a3)
            s0, s1, s2, s3 = add_terms(s0, s1, s2, s3, x0, x1, x2, x3, m, r, c)
            store(tile, a0, s0)
            store(tile, a1, s1)
            store(tile, a2, s2)
            store(tile, a3, s3)


@compiled
def _load_tile(matrix, row, start, stop, first, tile):
    """Copy a block's part of some rows of a flat matrix; the spare row is 0."""
    for b in range(start, stop):
        store(tile, (b - start) * LANES, load(matrix, b * row + first))
    store(tile, SPARE, splat(ZERO))


def _forward(address):
    call = carray(address, 1)[0]
    x, loc, log_scale, logits, _, total = layer_of(call)
    (known, kept), columns = known_of(call), _blocks_of(call)[0]
    values, rows, counts, ordinary = _lists_of(call)
    (offsets, score), row = scores_of(call), call.n_tasks * LANES
    zero_sums = carray(floats(call.zero_sums), call.batch * row)
    tile, far = np.empty(SPARE + LANES, np.float32), np.empty((4, call.n_in))
    i = next_task(address)
    while i < call.n_tasks:
        first, last = i * LANES, min((i + 1) * LANES, call.n_out)
        for part in range(len(counts)):
            start, stop = part * HEIGHT, min((part + 1) * HEIGHT, call.batch)
            _load_tile(zero_sums, row, start, stop, first, tile)
            _add_listed(columns[i], values[part], rows[part], counts[part], tile)
            some = slice(start, stop)
            of_rows = (x[some], known[some], total[some], kept[some], score[some], ordinary[some])
            for j in range(first, last):
                for b in range(start, stop):
                    total[b, j] = tile[(b - start) * LANES + j - first]
                neuron = (loc[j], log_scale[j], logits[j], call.min_scale, offsets[j])
                finish_scores(*of_rows, *neuron, j, far)
        i = next_task(address)


@compiled
def _sum_zeros(columns, at_zero, weights, row, first, sums):
    """The sums of w, w * z and w * z**2 over the rows in which an input is 0."""
    for k in range(len(columns)):
        m, r, at = load(columns[k], 0), load(columns[k], LANES), k * COLUMN
        z = multiply(subtract(splat(ZERO), m), r)
        w = multiply(load(at_zero, k * row + first), load(weights, k * row + first))
        wz = multiply(w, z)
        store(sums, at, w)
        store(sums, at + LANES, wz)
        store(sums, at + 2 * LANES, multiply(wz, z))


@compiled
def _move(listed, sums):
    """Add the sums of one list to those of all: a sum of many rows by parts loses no digits."""
    for at in range(0, sums.size, LANES):
        store(sums, at, add(load(sums, at), load(listed, at)))
        store(listed, at, splat(ZERO))


@compiled
def _sum_listed(columns, values, rows, counts, tile, sums):
    """Add the listed rows to the sums; the tile holds their weights."""
    for k in range(len(counts)):
        column, at = columns[k], k * COLUMN
        m, r, c = load(column, 0), load(column, LANES), load(column, 2 * LANES)
        s0, s1, s2 = load(sums, at), load(sums, at + LANES), load(sums, at + 2 * LANES)
        for i in range(0, counts[k], 2):
            w0, w1 = load(tile, rows[k, i]), load(tile, rows[k, i + 1])
            x0, x1 = splat(values[k, i]), splat(values[k, i + 1])
            s0, s1, s2, _, _ = near_pair(x0, x1, w0, w1, m, r, c, s0, s1, s2)
        store(sums, at, s0)
        store(sums, at + LANES, s1)
        store(sums, at + 2 * LANES, s2)


def _backward(address):
    call = carray(address, 1)[0]
    x, loc, log_scale, logits, constants, total = layer_of(call)
    (known, kept), (columns, at_zero) = known_of(call), _blocks_of(call)
    values, rows, counts, _ = _lists_of(call)
    n, row = call.n_in, call.n_tasks * LANES
    grad = carray(floats(call.grad), total.shape)
    weights = carray(floats(call.weights), call.batch * row)
    zero_weights = carray(floats(call.zero_sums), n * row)
    by_loc = carray(floats(call.by_loc), loc.shape)
    by_log_scale = carray(floats(call.by_log_scale), loc.shape)
    by_logits = carray(floats(call.by_logits), loc.shape)
    by_kept = carray(floats(call.by_kept), (n, row))
    tile, far = np.empty(SPARE + LANES, np.float32), np.empty((4, n))
    listed = np.empty(n * COLUMN, np.float32)
    sums, lines = np.empty(n * COLUMN, np.float32), np.empty((LANES, PARTS * n), np.float32)
    no_inputs = np.empty(0, np.float32)
    i = next_task(address)
    while i < call.n_tasks:
        first, last = i * LANES, min((i + 1) * LANES, call.n_out)
        _sum_zeros(columns[i], at_zero, zero_weights, row, first, sums)
        listed[:] = ZERO
        for part in range(len(counts)):
            start, stop = part * HEIGHT, min((part + 1) * HEIGHT, call.batch)
            _load_tile(weights, row, start, stop, first, tile)
            _sum_listed(columns[i], values[part], rows[part], counts[part], tile, listed)
            _move(listed, sums)
        turn_sums(sums, lines)
        for j in range(first, last):
            partial = lines[j - first]
            neuron = (loc[j], log_scale[j], logits[j], call.min_scale)
            add_far_rows(x, known, total, grad, *neuron, j, far, partial, no_inputs, False)
            by_logits[j] = partial[:n]
            by_loc[j] = partial[n : 2 * n]
            by_log_scale[j] = partial[2 * n :]
            grad_sum = 0.0
            for b in range(call.batch if kept.size == 0 else 0):
                grad_sum += np.float64(grad[b, j])
            finish_gradients(by_logits[j], by_loc[j], by_log_scale[j], constants[j], grad_sum)
            if kept.size > 0:
                rest = (logits[j], grad, total, known, by_kept)
                subtract_kept(by_logits[j], constants[j], *rest, j)
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any, Any, Any, Any]:
    """The C functions, as `loops.passes`: the columns, the lists, forward and backward.

    Columns and lists come before either way; products of matrices between them and that.
    """
    functions = (_make_all_columns, _make_all_lists, _forward, _backward)
    return tuple(c_function(f) for f in functions)
