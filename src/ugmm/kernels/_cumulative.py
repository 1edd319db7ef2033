"""The compiled loops of the cumulative score: forward and backward, in float32.

Notation as in `_loops`, but nothing is normalised, and the lanes of a vector are 16 outputs:

    t_k = level_k - z_k**2               level = log2(weight / scale / sqrt(2 pi))
    S_k = 2**start + sum_{i < k} 2**t_i  out_k = log(S_k)

A sum is kept as m * 2**e with an integer e, so that no prefix underflows beside later inputs that
score far higher. What is added is 2**u, u = t - e; where u is above `LIMIT` the sum is *raised*:
e becomes the nearest integer to t, and m is multiplied by an exact power of two. So m is at least
2**-1/2 unless nothing was added, and can lose nothing that counts.

Backward is a sum over later prefixes, with g the gradient of out:

    d/dt_k = 2**t_k Q_k                  Q_k = sum_{i > k} g_i / S_i

Forward leaves m and e at every `SPAN`-th input. Backward takes the spans last to first: it goes up
one as forward did, noting 2**u and g / m, and down again adding to Q, without exponentials. Where
the sum was raised on the way up, Q, which is in units of 2**-e, is lowered by the same factor.
All that a span needs stays in the first-level cache. Two rows go in step.

`after[k]` says which result the prefix that ends with input k is, or -1. The inputs from `used` on
are in no prefix that is wanted.
"""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels._loops import (
    HALF_LOG_2PI,
    LOG2_E_HIGH,
    MINUS_INF,
    SLOPE,
    ZERO,
    c_function,
    compiled,
    inlined,
    rate_of,
)
from ugmm.kernels._vectors import (
    LANES,
    add,
    add_product,
    any_above,
    divide,
    exp2,
    exp2_pair,
    floats,
    integers,
    larger,
    load,
    log_scaled,
    multiply,
    nearest,
    next_task,
    splat,
    store,
    subtract,
    subtract_product,
    sum_lanes,
    where_above,
)

__all__ = ["PARTS", "SPAN", "passes"]

SPAN = 32
STRIP = 8  # blocks that take a span in turn: what is written lies close together
PARTS = 3  # of a block's column for one input: means, rates, levels; or of its three sums
PAIR = 2 * LANES  # floats of a pair of rows; also of one row's m and e
COLUMN = PARTS * LANES
CONSTANT = np.float32(HALF_LOG_2PI)
LIMIT = np.float32(24.0)
LOWEST = np.float32(-3e38)  # the exponent of an empty sum
HALF = np.float32(0.5)  # less than any m but an empty sum's
CLAMP = np.float32(2.0**64)  # an infinite input in backward: z stays finite, and 2**t is 0


@compiled
def _prepare_block(loc, log_scale, log_weights, columns, first):
    """Means, rates and levels of the outputs from `first` on, one column an input."""
    n_out, n_in = loc.shape
    present = min(LANES, n_out - first)
    for lane in range(LANES):
        j = first + min(lane, present - 1)
        for k in range(n_in):
            at = k * COLUMN + lane
            columns[at], columns[at + LANES] = loc[j, k], log_scale[j, k]
            columns[at + 2 * LANES] = log_weights[j, k] if lane < present else MINUS_INF
    for at in range(LANES, n_in * COLUMN, COLUMN):
        log_width = load(columns, at)
        level = subtract(subtract(load(columns, at + LANES), log_width), splat(CONSTANT))
        store(columns, at, rate_of(log_width))
        store(columns, at + LANES, multiply(level, splat(LOG2_E_HIGH)))


@inlined
def _load_some(array, at, present, spare):
    """A vector of which only the first lanes are there; the others are 0, as `spare`'s are."""
    if present == LANES:
        return load(array, at)
    for lane in range(present):
        spare[lane] = array[at + lane]
    return load(spare, 0)


@inlined
def _store_some(array, at, present, spare, value):
    if present == LANES:
        store(array, at, value)
    else:
        store(spare, 0, value)
        for lane in range(present):
            array[at + lane] = spare[lane]


@inlined
def _begin(start, state):
    """The sum of the empty prefix: 2**start."""
    t = multiply(start, splat(LOG2_E_HIGH))
    e = larger(splat(LOWEST), nearest(t))
    store(state, 0, exp2(subtract(t, e)))
    store(state, LANES, e)


@inlined
def _term(x, mean, rate, level):
    z = multiply(subtract(x, mean), rate)
    return subtract_product(level, z, z)


@inlined
def _raise(m, e, t):
    """The sum in the units that 2**t asks for: m and e, and what m was multiplied by."""
    raised = where_above(subtract(t, e), splat(LIMIT), nearest(t), e)
    factor = exp2(subtract(e, raised))
    return multiply(m, factor), raised, factor


@compiled
def _forward_pair(x0, x1, columns, after, begin, end, at0, at1, state, n_out, present, spare, out):
    """Move two rows' sums, which lie in `state`, from one input to another."""
    m0, e0 = load(state, 0), load(state, LANES)
    m1, e1 = load(state, PAIR), load(state, PAIR + LANES)
    limit = splat(LIMIT)
    for k in range(begin, end):
        at = k * COLUMN
        mean, rate, level = load(columns, at), load(columns, at + LANES), load(columns, at + PAIR)
        t0, t1 = _term(splat(x0[k]), mean, rate, level), _term(splat(x1[k]), mean, rate, level)
        u0, u1 = subtract(t0, e0), subtract(t1, e1)
        if any_above(u0, u1, limit):
            m0, e0, _ = _raise(m0, e0, t0)
            m1, e1, _ = _raise(m1, e1, t1)
            u0, u1 = subtract(t0, e0), subtract(t1, e1)
        p0, p1 = exp2_pair(u0, u1)
        m0, m1 = add(m0, p0), add(m1, p1)
        if after[k] >= 0:
            i = after[k] * n_out
            _store_some(out, at0 + i, present, spare, log_scaled(m0, e0))
            _store_some(out, at1 + i, present, spare, log_scaled(m1, e1))
    store(state, 0, m0)
    store(state, LANES, e0)
    store(state, PAIR, m1)
    store(state, PAIR + LANES, e1)


@compiled
def _forward_strip(x, columns, start, states, after, out, task, blocks):
    """The results of some rows and some blocks of outputs; and their sums at every span."""
    (_, wanted, n_out), used = out.shape, after.size
    flat, starts = out.reshape(out.size), start.reshape(start.size)
    spare, state = np.zeros(LANES, np.float32), np.empty(2 * PAIR, np.float32)
    for span in range((used + SPAN - 1) // SPAN):
        begin, end = span * SPAN, min((span + 1) * SPAN, used)
        for b in range(task[0], task[1], 2):
            c = min(b + 1, task[1] - 1)
            for block in range(blocks[0], blocks[1]):
                first, here = block * LANES, states[block, span, b // 2]
                present = min(LANES, n_out - first)
                if span == 0:
                    _begin(_load_some(starts, b * n_out + first, present, spare), here)
                    _begin(_load_some(starts, c * n_out + first, present, spare), here[PAIR:])
                state[:] = here
                at0, at1 = b * wanted * n_out + first, c * wanted * n_out + first
                _forward_pair(
                    x[b], x[c], columns[block], after, begin, end, at0, at1, state,
                    n_out, present, spare, flat,
                )  # fmt: skip
                if span + 1 < states.shape[1]:
                    states[block, span + 1, b // 2] = state


@inlined
def _kept_finite(x):
    return min(max(x, -CLAMP), CLAMP) if x == x else x


@compiled
def _go_up(
    x0, x1, columns, after, begin, end, at0, at1, live, state, n_out, present, spare, grad, notes
):
    """Note 2**u of two rows over a span, g / m at the wanted prefixes, and how m was raised."""
    powers, shares, factors, raised = notes
    m0, e0 = load(state, 0), load(state, LANES)
    m1, e1 = load(state, PAIR), load(state, PAIR + LANES)
    limit, least = splat(LIMIT), splat(HALF)
    for k in range(begin, end):
        at, note = k * COLUMN, (k - begin) * PAIR
        mean, rate, level = load(columns, at), load(columns, at + LANES), load(columns, at + PAIR)
        v0, v1 = splat(_kept_finite(x0[k])), splat(_kept_finite(x1[k]))
        t0, t1 = _term(v0, mean, rate, level), _term(v1, mean, rate, level)
        u0, u1 = subtract(t0, e0), subtract(t1, e1)
        raised[k - begin] = any_above(u0, u1, limit)
        if raised[k - begin]:
            m0, e0, factor0 = _raise(m0, e0, t0)
            m1, e1, factor1 = _raise(m1, e1, t1)
            u0, u1 = subtract(t0, e0), subtract(t1, e1)
            store(factors, note, factor0)
            store(factors, note + LANES, factor1)
        p0, p1 = exp2_pair(u0, u1)
        m0, m1 = add(m0, p0), add(m1, p1)
        store(powers, note, p0)
        store(powers, note + LANES, p1)
        if after[k] >= 0:
            i = after[k] * n_out
            g0 = _load_some(grad, at0 + i, present, spare)
            store(shares, note, divide(g0, larger(least, m0)))
            g1 = multiply(_load_some(grad, at1 + i, present, spare), live)
            store(shares, note + LANES, divide(g1, larger(least, m1)))


@compiled
def _go_down(x0, x1, columns, after, begin, end, notes, q, sums, inputs, dx0, dx1):
    """Add two rows' gradients over a span to the sums of h, h * z, h * z**2, and to the inputs'.

    h is the gradient of t.
    """
    powers, shares, factors, raised = notes
    q0, q1 = load(q, 0), load(q, LANES)
    for k in range(end - 1, begin - 1, -1):
        at, note = k * COLUMN, (k - begin) * PAIR
        if after[k] >= 0:
            q0, q1 = add(q0, load(shares, note)), add(q1, load(shares, note + LANES))
        h0, h1 = multiply(load(powers, note), q0), multiply(load(powers, note + LANES), q1)
        if raised[k - begin]:
            q0 = multiply(q0, load(factors, note))
            q1 = multiply(q1, load(factors, note + LANES))
        mean, rate = load(columns, at), load(columns, at + LANES)
        z0 = multiply(subtract(splat(_kept_finite(x0[k])), mean), rate)
        z1 = multiply(subtract(splat(_kept_finite(x1[k])), mean), rate)
        hz0, hz1 = multiply(h0, z0), multiply(h1, z1)
        store(sums, at, add(load(sums, at), add(h0, h1)))
        store(sums, at + LANES, add(load(sums, at + LANES), add(hz0, hz1)))
        squares = add_product(add_product(load(sums, at + PAIR), hz0, z0), hz1, z1)
        store(sums, at + PAIR, squares)
        if inputs:
            dx0[k] += sum_lanes(multiply(hz0, rate)) * SLOPE
            dx1[k] += sum_lanes(multiply(hz1, rate)) * SLOPE
    store(q, 0, q0)
    store(q, LANES, q1)


@compiled
def _backward_strip(x, columns, states, after, grad, sums, dx, dstart, inputs, task, blocks):
    """Some blocks' sums over some rows, and what they add to their inputs' gradients."""
    (_, wanted, n_out), used = grad.shape, after.size
    flat, dstarts = grad.reshape(grad.size), dstart.reshape(dstart.size)
    spare, room = np.zeros(LANES, np.float32), np.empty((3, SPAN * PAIR), np.float32)
    notes = (room[0], room[1], room[2], np.empty(SPAN, np.bool_))
    first_block, first_pair = blocks[0], task[0] // 2
    pairs = (task[1] + 1) // 2 - first_pair
    q = np.zeros((blocks[1] - first_block, pairs, PAIR), np.float32)
    sums[first_block : blocks[1]] = ZERO
    for span in range((used + SPAN - 1) // SPAN - 1, -1, -1):
        begin, end = span * SPAN, min((span + 1) * SPAN, used)
        for b in range(task[0], task[1], 2):
            c = min(b + 1, task[1] - 1)
            live, pair = splat(np.float32(c - b)), b // 2
            d0, d1 = (dx[b], dx[c]) if inputs else (x[b], x[b])
            for block in range(first_block, blocks[1]):
                first = block * LANES
                at0, at1 = b * wanted * n_out + first, c * wanted * n_out + first
                _go_up(
                    x[b], x[c], columns[block], after, begin, end, at0, at1, live,
                    states[block, span, pair], n_out, min(LANES, n_out - first), spare, flat,
                    notes,
                )  # fmt: skip
                _go_down(
                    x[b], x[c], columns[block], after, begin, end, notes,
                    q[block - first_block, pair - first_pair], sums[block], inputs, d0, d1,
                )  # fmt: skip
    for b in range(task[0], task[1]):
        for block in range(first_block, blocks[1]):
            m = load(states[block, 0, b // 2], b % 2 * PAIR)
            at = q[block - first_block, b // 2 - first_pair]
            first = block * LANES
            value = multiply(load(at, b % 2 * LANES), m)
            _store_some(dstarts, b * n_out + first, min(LANES, n_out - first), spare, value)


@compiled
def _finish_block(columns, sums, more_sums, by_loc, by_log_scale, by_log_weights, used, first):
    """Add up the parts, always in the same order, and turn the sums into gradients."""
    n_out = by_loc.shape[0]
    for part in range(len(more_sums)):
        sums += more_sums[part]
    for lane in range(min(LANES, n_out - first)):
        j = first + lane
        for k in range(used):
            at = k * COLUMN + lane
            h = sums[at]
            by_log_weights[j, k] = h
            by_loc[j, k] = sums[at + LANES] * columns[at + LANES] * -SLOPE
            by_log_scale[j, k] = sums[at + PAIR] * -SLOPE - h
        by_log_weights[j, used:] = ZERO
        by_loc[j, used:] = ZERO
        by_log_scale[j, used:] = ZERO


@inlined
def _arrays(call):
    """x; the columns and states, one a block; the starts; the tasks; after."""
    blocks = (call.n_out + LANES - 1) // LANES
    spans = (call.n_in + SPAN - 1) // SPAN
    return (
        carray(floats(call.x), (call.batch, call.n_in)),
        carray(floats(call.columns), (blocks, call.n_in * COLUMN)),
        carray(floats(call.states), (blocks, spans, (call.batch + 1) // 2, 2 * PAIR)),
        carray(floats(call.start), (call.batch, call.n_out)),
        carray(integers(call.tasks), (call.n_tasks, 6)),
        carray(integers(call.after), call.used),
    )


@inlined
def _sums(call, tasks):
    """The parts of the three sums, and of the inputs' gradient."""
    blocks = (call.n_out + LANES - 1) // LANES
    parts_out, parts_rows = tasks[-1, 4], tasks[-1, 5]
    return (
        carray(floats(call.more_sums), (parts_rows + 1, blocks, call.n_in * COLUMN)),
        carray(floats(call.dx), (call.dx_rows, call.n_in)),
        carray(floats(call.more_dx), (parts_out, call.dx_rows, call.n_in)),
    )


def _prepare(address):
    call = carray(address, 1)[0]
    shape = (call.n_out, call.n_in)
    loc, log_scale = carray(floats(call.loc), shape), carray(floats(call.log_scale), shape)
    log_weights, columns = carray(floats(call.logits), shape), _arrays(call)[1]
    i = next_task(address)
    while i < call.n_tasks:
        for block in range(i, len(columns), call.n_tasks):
            _prepare_block(loc, log_scale, log_weights, columns[block], block * LANES)
        i = next_task(address)


def _forward(address):
    call = carray(address, 1)[0]
    x, columns, states, start, tasks, after = _arrays(call)
    out = carray(floats(call.score), (call.batch, call.wanted, call.n_out))
    i = next_task(address)
    while i < call.n_tasks:
        for block in range(tasks[i, 2], tasks[i, 3], STRIP):
            blocks = (block, min(block + STRIP, tasks[i, 3]))
            _forward_strip(x, columns, start, states, after, out, tasks[i], blocks)
        i = next_task(address)


def _backward(address):
    """Part 0 of the outputs writes into the result, the others into buffers."""
    call = carray(address, 1)[0]
    x, columns, states, _, tasks, after = _arrays(call)
    sums, dx, more_dx = _sums(call, tasks)
    grad = carray(floats(call.grad), (call.batch, call.wanted, call.n_out))
    dstart = carray(floats(call.dstart), (call.batch, call.n_out))
    inputs = call.dx_rows > 0
    i = next_task(address)
    while i < call.n_tasks:
        task = tasks[i]
        d = more_dx[task[4] - 1] if task[4] > 0 else dx
        d[task[0] : task[1]] = ZERO
        for block in range(task[2], task[3], STRIP):
            blocks = (block, min(block + STRIP, task[3]))
            part = sums[task[5]]
            _backward_strip(x, columns, states, after, grad, part, d, dstart, inputs, task, blocks)
        i = next_task(address)


def _finish(address):
    call = carray(address, 1)[0]
    _, columns, _, _, tasks, _ = _arrays(call)
    sums, dx, more_dx = _sums(call, tasks)
    shape = (call.n_out, call.n_in)
    by_loc = carray(floats(call.by_loc), shape)
    by_log_scale = carray(floats(call.by_log_scale), shape)
    by_log_weights = carray(floats(call.by_logits), shape)
    i = next_task(address)
    while i < call.n_tasks:
        for block in range(i, len(columns), call.n_tasks):
            _finish_block(
                columns[block], sums[0, block], sums[1:, block], by_loc, by_log_scale,
                by_log_weights, call.used, block * LANES,
            )  # fmt: skip
        for b in range(i, len(dx), call.n_tasks):
            for part in range(len(more_dx)):
                dx[b] += more_dx[part, b]
        i = next_task(address)


@functools.cache
def passes() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The C functions of forward and of backward, as `_loops.passes`."""
    forward = c_function(_prepare), c_function(_forward)
    return forward, (c_function(_backward), c_function(_finish))
