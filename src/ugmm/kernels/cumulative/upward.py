"""The compiled loops of the cumulative score's forward, in float32.

Notation as in `mixture.neuron`, but nothing is normalised, and the lanes of a vector are 16
outputs:

    t_k = level_k - z_k**2               level = log2(weight / scale / sqrt(2 pi))
    S_k = e**start + sum_{i < k} 2**t_i  out_k = log(S_k)

A sum is kept as m * 2**e with an integer e, so that no prefix underflows beside later inputs that
score far higher. What is added is 2**u, u = t - e; where u is above `LIMIT` the sum is *raised*:
e becomes the nearest integer to t, and m is multiplied by an exact power of two. So m is at least
2**-1/2 unless nothing was added, and can lose nothing that counts.

Backward (`downward`) is a sum over later prefixes, with g the gradient of out:

    d/dt_k = 2**t_k Q_k                  Q_k = sum_{i > k} g_i / S_i

Forward leaves m and e at every `SPAN`-th input. Backward takes the spans last to first: it goes up
one as forward did, noting 2**u and g / m, and down again adding to Q, without exponentials. Where
the sum was raised on the way up, Q, which is in units of 2**-e, is lowered by the same factor.
All that a span needs stays in the first-level cache. Two rows go in step.

`after[k]` says which result the prefix that ends with input k is, or -1. The inputs from `used` on
are in no prefix that is wanted.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import HALF_LOG_2PI, LOG2_E_HIGH, MINUS_INF
from ugmm.kernels.compiled.call import c_function, compiled, inlined
from ugmm.kernels.compiled.lanes import where_above
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.scales import rate_of
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    exp2,
    floats,
    integers,
    larger,
    load,
    multiply,
    nearest,
    next_task,
    splat,
    store,
    subtract,
    subtract_product,
)
from ugmm.kernels.cumulative.vectors import any_above, exp2_pair

__all__ = [
    "COLUMN", "LIMIT", "PAIR", "PARTS", "SPAN", "STRIP",
    "arrays_of", "begin_sum", "load_some", "passes", "raise_sums", "store_some", "term",
]  # fmt: skip

SPAN = 32
STRIP = 8  # blocks that take a span in turn: what is written lies close together
PARTS = 3  # of a block's column for one input: means, rates, levels; or of its three sums
PAIR = 2 * LANES  # floats of a pair of rows; also of one row's m and e
COLUMN = PARTS * LANES
CONSTANT = np.float32(HALF_LOG_2PI)
LIMIT = np.float32(24.0)
LOWEST = np.float32(-3e38)  # the exponent of an empty sum


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
def load_some(array, at, present, spare):
    """A vector of which only the first lanes are there; the others are 0, as `spare`'s are."""
    if present == LANES:
        return load(array, at)
    for lane in range(present):
        spare[lane] = array[at + lane]
    return load(spare, 0)


@inlined
def store_some(array, at, present, spare, value):
    """Store the lanes that are there."""
    if present == LANES:
        store(array, at, value)
    else:
        store(spare, 0, value)
        for lane in range(present):
            array[at + lane] = spare[lane]


@inlined
def begin_sum(start, state):
    """The sum of the empty prefix: e**start."""
    t = multiply(start, splat(LOG2_E_HIGH))
    e = larger(splat(LOWEST), nearest(t))
    store(state, 0, exp2(subtract(t, e)))
    store(state, LANES, e)


@inlined
def term(x, mean, rate, level):
    """t, the logarithm of one component."""
    z = multiply(subtract(x, mean), rate)
    return subtract_product(level, z, z)


@inlined
def raise_sums(m, e, t):
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
        t0, t1 = term(splat(x0[k]), mean, rate, level), term(splat(x1[k]), mean, rate, level)
        u0, u1 = subtract(t0, e0), subtract(t1, e1)
        if any_above(u0, u1, limit):
            m0, e0, _ = raise_sums(m0, e0, t0)
            m1, e1, _ = raise_sums(m1, e1, t1)
            u0, u1 = subtract(t0, e0), subtract(t1, e1)
        p0, p1 = exp2_pair(u0, u1)
        m0, m1 = add(m0, p0), add(m1, p1)
        if after[k] >= 0:
            i = after[k] * n_out
            store_some(out, at0 + i, present, spare, log_scaled(m0, e0))
            store_some(out, at1 + i, present, spare, log_scaled(m1, e1))
    store(state, 0, m0)
    store(state, LANES, e0)
    store(state, PAIR, m1)
    store(state, PAIR + LANES, e1)


@compiled
def _forward_strip(x, columns, start, states, after, out, task, blocks):
    """The results of some rows and some blocks of outputs; and their sums at every span."""
    (_, wanted, n_out), used = out.shape, after.size
    flat, starts = out.reshape(out.size), start.reshape(start.size)
    # What is stored may be NaN in the lanes that are not there, so it has a spare of its own.
    zeros, spare = np.zeros(LANES, np.float32), np.empty(LANES, np.float32)
    state = np.empty(2 * PAIR, np.float32)
    for span in range((used + SPAN - 1) // SPAN):
        begin, end = span * SPAN, min((span + 1) * SPAN, used)
        for b in range(task[0], task[1], 2):
            c = min(b + 1, task[1] - 1)
            for block in range(blocks[0], blocks[1]):
                first, here = block * LANES, states[block, span, b // 2]
                present = min(LANES, n_out - first)
                if span == 0:
                    begin_sum(load_some(starts, b * n_out + first, present, zeros), here)
                    begin_sum(load_some(starts, c * n_out + first, present, zeros), here[PAIR:])
                state[:] = here
                at0, at1 = b * wanted * n_out + first, c * wanted * n_out + first
                _forward_pair(
                    x[b], x[c], columns[block], after, begin, end, at0, at1, state,
                    n_out, present, spare, flat,
                )  # fmt: skip
                if span + 1 < states.shape[1]:
                    states[block, span + 1, b // 2] = state


@inlined
def arrays_of(call):
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


def _prepare(address):
    call = carray(address, 1)[0]
    shape = (call.n_out, call.n_in)
    loc, log_scale = carray(floats(call.loc), shape), carray(floats(call.log_scale), shape)
    log_weights, columns = carray(floats(call.logits), shape), arrays_of(call)[1]
    i = next_task(address)
    while i < call.n_tasks:
        for block in range(i, len(columns), call.n_tasks):
            _prepare_block(loc, log_scale, log_weights, columns[block], block * LANES)
        i = next_task(address)


def _forward(address):
    call = carray(address, 1)[0]
    x, columns, states, start, tasks, after = arrays_of(call)
    out = carray(floats(call.score), (call.batch, call.wanted, call.n_out))
    i = next_task(address)
    while i < call.n_tasks:
        for block in range(tasks[i, 2], tasks[i, 3], STRIP):
            blocks = (block, min(block + STRIP, tasks[i, 3]))
            _forward_strip(x, columns, start, states, after, out, tasks[i], blocks)
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any, Any]:
    """The C functions of forward, as `mixture.loops.passes`."""
    return c_function(_prepare), c_function(_forward)
