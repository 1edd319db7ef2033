"""The compiled loops of single inputs' candidates, in float32.

Notation as in `mixture.neuron`; the lanes of a vector are the neurons of a *block*
(`mixture.columns`), and sums are kept as m * 2**e and raised as in `cumulative.upward`. For every
row, wanted input i and neuron, the sum over the other inputs is

    others_i = sum_{k < i} 2**t_k + sum_{k > i} 2**t_k

The second sums come on the way down the inputs, the first on the way up again. Nothing is
subtracted, so no digits are lost where input i alone makes almost all of the whole sum. The score
of a candidate v of input i is then

    offset + log(others_i + 2**t_i(v))

Pair b * C + c is of row b and the c-th wanted input.
"""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined, padded
from ugmm.kernels.compiled.lanes import store_some
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_powers,
    doubles,
    exp2,
    floats,
    integers,
    larger,
    load,
    multiply,
    next_task,
    splat,
    store,
    subtract,
)
from ugmm.kernels.cumulative.upward import LIMIT, LOWEST, PAIR, raise_sums, term
from ugmm.kernels.cumulative.vectors import any_above
from ugmm.kernels.mixture.columns import COLUMN

__all__ = ["PAIR", "passes"]

STEP = 4  # candidates that go through their exponentials in step


@inlined
def _exponent(x, column, k):
    """The t of a block's components of input k."""
    at = k * COLUMN
    mean, rate = load(column, at), load(column, at + LANES)
    return term(splat(x), mean, rate, load(column, at + 2 * LANES))


@inlined
def _grown(m, e, t):
    """A sum with 2**t added."""
    if any_above(subtract(t, e), subtract(t, e), splat(LIMIT)):
        m, e, _ = raise_sums(m, e, t)
    return add(m, exp2(subtract(t, e))), e


@compiled
def _add_others(x, column, coordinates, ends, wanted, after, others, step):
    """Fill one row's and block's sums over the others: one every `step` floats.

    `ends` are the first and the last wanted input, `wanted` flags them all; `after` is room for
    the sums over later inputs.
    """
    m, e = splat(ZERO), splat(LOWEST)
    for k in range(x.size - 1, ends[0] - 1, -1):
        if wanted[k]:
            store(after, k * PAIR, m)
            store(after, k * PAIR + LANES, e)
        m, e = _grown(m, e, _exponent(x[k], column, k))
    m, e = splat(ZERO), splat(LOWEST)
    for k in range(ends[1] + 1):
        if wanted[k]:
            e_after = load(after, k * PAIR + LANES)
            top = larger(e, e_after)
            m_after = multiply(load(after, k * PAIR), exp2(subtract(e_after, top)))
            store(after, k * PAIR, add(multiply(m, exp2(subtract(e, top))), m_after))
            store(after, k * PAIR + LANES, top)
        m, e = _grown(m, e, _exponent(x[k], column, k))
    for c in range(coordinates.size):
        for part in range(0, PAIR, LANES):
            store(others, c * step + part, load(after, coordinates[c] * PAIR + part))


@inlined
def _raised(m, e, t):
    """Of a sum with 2**t added, whichever is larger, the logarithm."""
    m, e, _ = raise_sums(m, e, t)
    return log_scaled(add(m, exp2(subtract(t, e))), e)


@compiled
def _score_candidates(values, column, k, others, offset, scores, first, n_out):
    """Fill the scores of a block's candidates for input k: one every n_out floats."""
    m, e, limit, some = load(others, 0), load(others, LANES), splat(LIMIT), n_out - first
    last = values.size - 1
    for g in range(0, values.size, STEP):
        t0, t1 = _exponent(values[g], column, k), _exponent(values[min(g + 1, last)], column, k)
        t2 = _exponent(values[min(g + 2, last)], column, k)
        t3 = _exponent(values[min(g + 3, last)], column, k)
        u0, u1, u2, u3 = subtract(t0, e), subtract(t1, e), subtract(t2, e), subtract(t3, e)
        if any_above(u0, u1, limit) or any_above(u2, u3, limit):
            h0, h1, h2, h3 = (
                _raised(m, e, t0),
                _raised(m, e, t1),
                _raised(m, e, t2),
                _raised(m, e, t3),
            )
        else:
            s0, s1, s2, s3 = add_powers(m, m, m, m, u0, u1, u2, u3)
            h0, h1, h2, h3 = (
                log_scaled(s0, e),
                log_scaled(s1, e),
                log_scaled(s2, e),
                log_scaled(s3, e),
            )
        at = g * n_out + first
        store_some(scores, at, some, add(offset, h0))
        store_some(scores, at + n_out, some * (g + 1 <= last), add(offset, h1))
        store_some(scores, at + 2 * n_out, some * (g + 2 <= last), add(offset, h2))
        store_some(scores, at + 3 * n_out, some * (g + 3 <= last), add(offset, h3))


@inlined
def _arrays_of(call):
    """Each block's columns and offsets; the coordinates; each pair's sums over the others."""
    blocks = padded(call.n_out) // LANES
    offsets = np.zeros(blocks * LANES, np.float32)
    offsets[: call.n_out] = carray(doubles(call.offsets), call.n_out)
    return (
        carray(floats(call.columns), (blocks, call.n_in * COLUMN)),
        offsets,
        carray(integers(call.coordinates), call.used),
        carray(floats(call.others), (call.batch * call.used, blocks * PAIR)),
    )


def _add_all_others(address):
    call = carray(address, 1)[0]
    columns, _, coordinates, others = _arrays_of(call)
    x = carray(floats(call.x), (call.batch, call.n_in))
    wanted, after = np.zeros(call.n_in, np.bool_), np.empty(call.n_in * PAIR, np.float32)
    first, last = call.n_in, -1
    for k in coordinates:
        wanted[k], first, last = True, min(first, k), max(last, k)
    blocks, step = columns.shape[0], others.shape[1]
    items = call.batch * blocks
    i = next_task(address)
    while i < call.n_tasks:
        for item in range(i * items // call.n_tasks, (i + 1) * items // call.n_tasks):
            b, block = item // blocks, item % blocks
            own = others[b * call.used : (b + 1) * call.used].reshape(call.used * step)
            here = own[block * PAIR :]
            _add_others(
                x[b], columns[block], coordinates, (first, last), wanted, after, here, step
            )
        i = next_task(address)


def _score_all(address):
    call = carray(address, 1)[0]
    columns, offsets, coordinates, others = _arrays_of(call)
    values = carray(floats(call.values), (call.batch * call.used, call.wanted))
    size = call.wanted * call.n_out
    scores = carray(floats(call.score), call.rows * size)
    i = next_task(address)
    while i < call.n_tasks:
        for n in range(i * call.rows // call.n_tasks, (i + 1) * call.rows // call.n_tasks):
            pair, here = call.first + n, scores[n * size : (n + 1) * size]
            c = pair % call.used
            own = values[c if call.shared else pair]
            for block in range(len(columns)):
                first = block * LANES
                _score_candidates(
                    own, columns[block], coordinates[c], others[pair, block * PAIR :],
                    load(offsets, first), here, first, call.n_out,
                )  # fmt: skip
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any, Any]:
    """The C functions, as `mixture.loops.passes`: all sums over the others; some pairs' scores."""
    return c_function(_add_all_others), c_function(_score_all)
