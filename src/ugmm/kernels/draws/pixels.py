"""The compiled loop that draws binary features one after another, in float32.

The lanes of a vector are 16 rows, so that nothing is added up across lanes. Of each row and neuron
the sum over the features so far is kept as m * 2**e and raised as in `cumulative.upward`. A pixel
is drawn from

    logit = sum_j weight_j (h_j - mean) / sqrt(var + epsilon) + bias    h_j = log(m_j * 2**e_j)

with the mean and variance over neurons: a LayerNorm whose own weights are a part of these. What
a pixel adds to the sums has two values, of which `columns` holds the logarithms in base 2:

    columns[d, :, j] = t if x_d is 0, t if x_d is 1, weight

A pixel is 1 if its number, which is uniform and was drawn before, lies below its probability;
then the pixel takes the number's place. Pixels that are given are there already.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import LOG2_E_HIGH, ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined
from ugmm.kernels.compiled.lanes import where_above
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    divide,
    exp2,
    floats,
    larger,
    load,
    multiply,
    next_task,
    root,
    splat,
    store,
    subtract,
)
from ugmm.kernels.cumulative.upward import LIMIT, begin_sum, raise_sums
from ugmm.kernels.cumulative.vectors import any_above

__all__ = [
    "PARTS", "add_pixel", "draw_pixel", "load_rows", "passes", "read_logit", "store_rows",
]  # fmt: skip

PARTS = 3  # of a pixel's column: of each neuron a number
ONE, HALF = np.float32(1.0), np.float32(0.5)
FAR = np.float32(-126.0)  # logits in base 2 are cut here: the uniform numbers are coarser


@inlined
def load_rows(array, rows, column, spare):
    """One column of 16 rows; where there are fewer, the last one again."""
    for lane in range(LANES):
        spare[lane] = array[min(rows[0] + lane, rows[1] - 1), column]
    return load(spare, 0)


@inlined
def store_rows(array, rows, column, spare, value):
    """Put a vector into one column of up to 16 rows."""
    store(spare, 0, value)
    for lane in range(rows[1] - rows[0]):
        array[rows[0] + lane, column] = spare[lane]


@inlined
def add_pixel(sums, column, pixel):
    """Add to every neuron's sum what it makes of a pixel."""
    half, limit = splat(HALF), splat(LIMIT)
    for j in range(len(sums)):
        m, e = load(sums[j], 0), load(sums[j], LANES)
        t = where_above(pixel, half, splat(column[1, j]), splat(column[0, j]))
        t = add(t, subtract(pixel, pixel))  # after a NaN all is
        u = subtract(t, e)
        if any_above(u, u, limit):
            m, e, _ = raise_sums(m, e, t)
            store(sums[j], LANES, e)
            u = subtract(t, e)
        store(sums[j], 0, add(m, exp2(u)))


@inlined
def read_logit(sums, logs, column, bias, epsilon):
    """The logit of the next pixel, in base 2."""
    total, share = splat(ZERO), splat(ONE / np.float32(len(sums)))
    for j in range(len(sums)):
        h = log_scaled(load(sums[j], 0), load(sums[j], LANES))
        store(logs[j], 0, h)
        total = add(total, h)
    mean, squares, product = multiply(total, share), splat(ZERO), splat(ZERO)
    for j in range(len(sums)):
        h = subtract(load(logs[j], 0), mean)
        squares = add_product(squares, h, h)
        product = add_product(product, h, splat(column[2, j]))
    width = root(add_product(splat(epsilon), squares, share))
    return multiply(add(divide(product, width), splat(bias)), splat(LOG2_E_HIGH))


@inlined
def draw_pixel(logit, number):
    """A pixel from its logit in base 2 and a uniform number."""
    one, zero = splat(ONE), splat(ZERO)
    # 1 / (1 + odds) is the probability of a 1.
    odds = exp2(subtract(zero, larger(splat(FAR), logit)))
    pixel = where_above(one, add_product(number, number, odds), one, zero)
    return add(pixel, subtract(odds, odds))  # a NaN stays one


@compiled
def _draw_rows(x, rows, start, columns, biases, epsilon, given):
    """Draw the pixels from `given` on of up to 16 rows."""
    n_in, _, n_out = columns.shape
    sums = np.empty((n_out, 2 * LANES), np.float32)
    logs = np.empty((n_out, LANES), np.float32)
    spare = np.empty(LANES, np.float32)
    for j in range(n_out):
        begin_sum(load_rows(start, rows, j, spare), sums[j])
    for d in range(given):
        add_pixel(sums, columns[d], load_rows(x, rows, d, spare))
    for d in range(given, n_in):
        logit = read_logit(sums, logs, columns[d], biases[d], epsilon)
        pixel = draw_pixel(logit, load_rows(x, rows, d, spare))
        store_rows(x, rows, d, spare, pixel)
        add_pixel(sums, columns[d], pixel)


def _draw(address):
    call = carray(address, 1)[0]
    x = carray(floats(call.x), (call.batch, call.n_in))
    start = carray(floats(call.start), (call.batch, call.n_out))
    columns = carray(floats(call.columns), (call.n_in, PARTS, call.n_out))
    constants = carray(floats(call.constants), call.n_in + 1)
    i = next_task(address)
    while i < call.n_tasks:
        rows = (i * LANES, min((i + 1) * LANES, call.batch))
        _draw_rows(x, rows, start, columns, constants, constants[call.n_in], call.used)
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any]:
    """The C function of the draws; `constants` are the biases and, after them, epsilon."""
    return (c_function(_draw),)
