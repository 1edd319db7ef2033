"""The compiled loops of a layer's scores for many rows that lie near one, in float32.

A neuron's sum over its components, in units of the sum at the *base* row, is 1 + sum_k f_k(d_k)
with d the difference to the base. Each f_k is a polynomial of degree `DEGREE`, where |d_k| is
below a limit within which that is exact to rounding, and else what an exponential says:

    f_k(d) = a_1 d + ... + a_4 d**4     or     2**t_k(x_k) - a_0

Rows are taken by fours: a component is computed by exponentials if one of the four asks for it.
The lanes of a vector are 16 neurons, a *block*. A sum that has become much smaller or larger than
the base's is flagged, for its row to be computed otherwise: there the limits mean nothing.
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
from ugmm.kernels.compiled.lanes import any_below, load_some, store_some
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.threads import ROWS
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    exp2,
    flags,
    floats,
    larger,
    load,
    next_task,
    splat,
    store,
    subtract,
)
from ugmm.kernels.cumulative.upward import term
from ugmm.kernels.cumulative.vectors import any_above

__all__ = ["DEGREE", "HEIGHT", "passes"]

DEGREE = 4
EXACT = 4  # vectors of a component: a_0, mean, rate and level
HEIGHT = 32  # rows of a tile, whose differences stay in the first-level cache
ONE = np.float32(1.0)
LEAST, MOST = np.float32(0.25), np.float32(2.0**20)
HIGHEST = np.float32(60.0)  # of exponents, which keeps sums finite


@compiled
def _differences(x, start, stop, base, limits, tile, listed, counts):
    """Fill a tile with the differences of rows to the base; list, and set to 0, the large ones."""
    width, largest = base.size, np.empty(LANES, np.float32)
    for b in range(start, stop, ROWS):
        group, n = (b - start) // ROWS, 0
        for k in range(0, width, LANES):
            middle, top = load(base, k), splat(ZERO)
            for i in range(ROWS):
                row = x[min(b + i, stop - 1)]
                d = subtract(load_some(row, k, row.size - k, splat(ZERO)), middle)
                store(tile, (b - start + i) * width + k, d)
                top = larger(top, larger(d, subtract(splat(ZERO), d)))
            if any_above(top, top, load(limits, k)):
                store(largest, 0, top)
                for lane in range(LANES):
                    if largest[lane] > limits[k + lane]:
                        listed[group, n] = k + lane
                        n += 1
                        for i in range(ROWS):
                            tile[(b - start + i) * width + k + lane] = ZERO
        counts[group] = n


@inlined
def _polynomial(total, d, a1, a2, a3, a4):
    d = splat(d)
    p = add_product(a3, a4, d)
    p = add_product(a2, p, d)
    p = add_product(a1, p, d)
    return add_product(total, p, d)


@compiled
def _near_sums(tile, at, width, slopes):
    """The sums of four rows and a block over the polynomials."""
    s0, s1, s2, s3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for k in range(width):
        i, c = at + k, k * DEGREE * LANES
        a1, a2 = load(slopes, c), load(slopes, c + LANES)
        a3, a4 = load(slopes, c + 2 * LANES), load(slopes, c + 3 * LANES)
        s0 = _polynomial(s0, tile[i], a1, a2, a3, a4)
        s1 = _polynomial(s1, tile[i + width], a1, a2, a3, a4)
        s2 = _polynomial(s2, tile[i + 2 * width], a1, a2, a3, a4)
        s3 = _polynomial(s3, tile[i + 3 * width], a1, a2, a3, a4)
    return s0, s1, s2, s3


@inlined
def _exchanged(total, x, exact, at):
    """A sum with a component's base value taken out and its own put in."""
    mean, rate = load(exact, at + LANES), load(exact, at + 2 * LANES)
    t = term(splat(x), mean, rate, load(exact, at + 3 * LANES))
    high = splat(HIGHEST)
    t = subtract(high, larger(splat(ZERO), subtract(high, t)))
    return add(total, subtract(exp2(t), load(exact, at)))


@compiled
def _score_block(x, start, stop, tile, listed, counts, slopes, exact, offset, block, out):
    """The scores of a tile and a block; return whether a sum is out of bounds."""
    n_out, width, bad = out.shape[1], slopes.size // (DEGREE * LANES), False
    flat, first = out.reshape(out.size), block * LANES
    some, zero, one = n_out - first, splat(ZERO), splat(ONE)
    for b in range(start, stop, ROWS):
        s0, s1, s2, s3 = _near_sums(tile, (b - start) * width, width, slopes)
        b1, b2, b3 = min(b + 1, stop - 1), min(b + 2, stop - 1), min(b + 3, stop - 1)
        group = (b - start) // ROWS
        for n in range(counts[group]):
            k = listed[group, n]
            at = k * EXACT * LANES
            s0, s1 = _exchanged(s0, x[b, k], exact, at), _exchanged(s1, x[b1, k], exact, at)
            s2, s3 = _exchanged(s2, x[b2, k], exact, at), _exchanged(s3, x[b3, k], exact, at)
        # Only now, since most differences are small: so few digits are lost on the way.
        s0, s1, s2, s3 = add(s0, one), add(s1, one), add(s2, one), add(s3, one)
        bad |= any_below(s0, s1, s2, s3, splat(LEAST))
        bad |= any_above(s0, s1, splat(MOST)) or any_above(s2, s3, splat(MOST))
        store_some(flat, b * n_out + first, some, add(offset, log_scaled(s0, zero)))
        store_some(flat, b1 * n_out + first, some, add(offset, log_scaled(s1, zero)))
        store_some(flat, b2 * n_out + first, some, add(offset, log_scaled(s2, zero)))
        store_some(flat, b3 * n_out + first, some, add(offset, log_scaled(s3, zero)))
    return bad


def _score_near(address):
    call = carray(address, 1)[0]
    width, blocks = padded(call.n_in), padded(call.n_out) // LANES
    x = carray(floats(call.x), (call.batch, call.n_in))
    out = carray(floats(call.score), (call.batch, call.n_out))
    slopes = carray(floats(call.columns), (blocks, width * DEGREE * LANES))
    exact = carray(floats(call.constants), (blocks, width * EXACT * LANES))
    base, limits = carray(floats(call.at_zero), width), carray(floats(call.weights), width)
    offsets, bad = (
        carray(floats(call.zero_sums), blocks * LANES),
        carray(flags(call.ordinary), call.n_tasks),
    )
    tile, counts = np.empty(HEIGHT * width, np.float32), np.empty(HEIGHT // ROWS, np.int64)
    listed = np.empty((HEIGHT // ROWS, width), np.int64)
    i = next_task(address)
    while i < call.n_tasks:
        start, stop = i * HEIGHT, min((i + 1) * HEIGHT, call.batch)
        _differences(x, start, stop, base, limits, tile, listed, counts)
        bad[i] = False
        for block in range(blocks):
            rows = (x, start, stop, tile, listed, counts)
            bad[i] |= _score_block(
                *rows, slopes[block], exact[block], load(offsets, block * LANES), block, out
            )
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any]:
    """The C function, as `mixture.loops.passes`."""
    return (c_function(_score_near),)
