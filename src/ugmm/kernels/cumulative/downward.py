"""The compiled loops of the cumulative score's backward; its notation is that of `upward`."""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import SLOPE, ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    divide,
    floats,
    larger,
    load,
    multiply,
    next_task,
    splat,
    store,
    subtract,
    sum_lanes,
)
from ugmm.kernels.cumulative.upward import (
    COLUMN,
    LIMIT,
    PAIR,
    SPAN,
    STRIP,
    arrays_of,
    load_some,
    raise_sums,
    store_some,
    term,
)
from ugmm.kernels.cumulative.vectors import any_above, exp2_pair

__all__ = ["passes"]

HALF = np.float32(0.5)  # less than any m but an empty sum's
CLAMP = np.float32(2.0**64)  # an infinite input: z stays finite, and 2**t is 0


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
        t0, t1 = term(v0, mean, rate, level), term(v1, mean, rate, level)
        u0, u1 = subtract(t0, e0), subtract(t1, e1)
        raised[k - begin] = any_above(u0, u1, limit)
        if raised[k - begin]:
            m0, e0, factor0 = raise_sums(m0, e0, t0)
            m1, e1, factor1 = raise_sums(m1, e1, t1)
            u0, u1 = subtract(t0, e0), subtract(t1, e1)
            store(factors, note, factor0)
            store(factors, note + LANES, factor1)
        p0, p1 = exp2_pair(u0, u1)
        m0, m1 = add(m0, p0), add(m1, p1)
        store(powers, note, p0)
        store(powers, note + LANES, p1)
        if after[k] >= 0:
            i = after[k] * n_out
            g0 = load_some(grad, at0 + i, present, spare)
            store(shares, note, divide(g0, larger(least, m0)))
            g1 = multiply(load_some(grad, at1 + i, present, spare), live)
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
            store_some(dstarts, b * n_out + first, min(LANES, n_out - first), spare, value)


@compiled
def _finish_block(columns, sums, more_sums, by_loc, by_log_scale, by_log_weights, used, first):
    """Add up the parts, always in the same order, and turn the sums into gradients."""
    n_out = len(by_loc)
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
def _sums(call, tasks):
    """The parts of the three sums, and of the inputs' gradient."""
    blocks = (call.n_out + LANES - 1) // LANES
    parts_out, parts_rows = tasks[-1, 4], tasks[-1, 5]
    return (
        carray(floats(call.more_sums), (parts_rows + 1, blocks, call.n_in * COLUMN)),
        carray(floats(call.dx), (call.dx_rows, call.n_in)),
        carray(floats(call.more_dx), (parts_out, call.dx_rows, call.n_in)),
    )


def _backward(address):
    """Part 0 of the outputs writes into the result, the others into buffers."""
    call = carray(address, 1)[0]
    x, columns, states, _, tasks, after = arrays_of(call)
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
    _, columns, _, _, tasks, _ = arrays_of(call)
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
def passes() -> tuple[Any, Any]:
    """The C functions of backward, as `mixture.loops.passes`."""
    return c_function(_backward), c_function(_finish)
