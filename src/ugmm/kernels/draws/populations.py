"""The compiled loop of populations: binary features drawn, or known and weighed, with resampling.

A population is of whole vectors of particles and lives in one task: so no answer depends on
threads. Its particles go from pixel to pixel together, as in `pixels`. From `begin` on, a pixel
that is known adds its log-probability to each particle's weight; where the effective share of the
weights, (sum w)**2 / (n sum w**2), falls below a half, they are resampled: of each particle there
are from then on as many as the *systematic* positions (k + u) / n in its part of the weights, the
first one in its own place, the others in the places of those of which there are none. Weights are
kept as logarithms in base 2.
"""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
import math
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import LN_2, LOG2_E_HIGH, ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    doubles,
    exp2,
    floats,
    integers,
    larger,
    largest,
    load,
    next_task,
    splat,
    store,
    subtract,
    sum_lanes,
)
from ugmm.kernels.cumulative.upward import begin_sum
from ugmm.kernels.draws.pixels import (
    PARTS,
    add_pixel,
    draw_pixel,
    load_rows,
    read_logit,
    store_rows,
)

__all__ = ["passes"]

ENOUGH = 0.5  # of the effective share
ONE = np.float32(1.0)


@inlined
def _log2_probability(logit, value):
    """log2 of the probability of a 1, or of a 0."""
    against = logit if value < ONE / 2 else subtract(splat(ZERO), logit)
    least = larger(splat(ZERO), against)
    size = larger(subtract(splat(ZERO), against), against)
    rest = log_scaled(add(splat(ONE), exp2(subtract(splat(ZERO), size))), splat(ZERO))
    return subtract(splat(ZERO), add_product(least, rest, splat(LOG2_E_HIGH)))


@compiled
def _normalize(log_weights, weights):
    """2 to the power of the weights less the largest: that one, their sum, that of the squares."""
    top = log_weights[0]
    for at in range(0, len(log_weights), LANES):
        top = max(top, largest(load(log_weights, at)))
    total, squares = splat(ZERO), splat(ZERO)
    for at in range(0, len(log_weights), LANES):
        w = exp2(subtract(load(log_weights, at), splat(top)))
        store(weights, at, w)
        total, squares = add(total, w), add_product(squares, w, w)
    return top, np.float64(sum_lanes(total)), np.float64(sum_lanes(squares))


@compiled
def _count_copies(weights, total, offset, counts):
    """How many of each particle there shall be."""
    n, position, filled = len(weights), 0.0, 0
    for i in range(n):
        position += weights[i] * (n / total)
        upto = n if i == n - 1 else min(n, math.ceil(position - offset))
        counts[i] = max(0, upto - filled)
        filled = max(filled, upto)


@compiled
def _copy_particles(counts, sums, x, ancestors, end):
    """Put those that there shall be more of in the places of those that go."""
    place = 0
    for i in range(len(counts)):
        while counts[i] > 1:
            while counts[place] != 0:
                place += 1
            x[place, :end] = x[i, :end]
            ancestors[place] = ancestors[i]
            a, b = sums[i // LANES], sums[place // LANES]
            for j in range(a.shape[0]):
                for at in range(0, 2 * LANES, LANES):
                    b[j, at + place % LANES] = a[j, at + i % LANES]
            counts[i] -= 1
            counts[place] = 1


@compiled
def _send(x, labels, known, offsets, begin, start, columns, biases, epsilon, weights, ancestors):
    """Send one population on its way; return log2 of the estimate of what was known."""
    n, end = x.shape
    n_out = start.shape[1]
    sums = np.empty((n // LANES, n_out, 2 * LANES), np.float32)
    logs, spare = np.empty((n_out, LANES), np.float32), np.empty(LANES, np.float32)
    shares, counts = np.empty(n, np.float32), np.empty(n, np.int64)
    for i in range(n):
        ancestors[i], weights[i] = i, ZERO
    for v in range(n // LANES):
        for j in range(n_out):
            for lane in range(LANES):
                spare[lane] = start[labels[v * LANES + lane], j]
            begin_sum(load(spare, 0), sums[v, j])
    log_z = 0.0
    for d in range(end):
        is_known, value = known[d] >= ZERO, known[d]
        for v in range(n // LANES):
            rows = (v * LANES, (v + 1) * LANES)
            pixel = splat(value)
            if d >= begin:
                logit = read_logit(sums[v], logs, columns[d], biases[d], epsilon)
                if is_known:
                    gain = _log2_probability(logit, value)
                    store(weights, rows[0], add(load(weights, rows[0]), gain))
                else:
                    pixel = draw_pixel(logit, load_rows(x, rows, d, spare))
            store_rows(x, rows, d, spare, pixel)
            add_pixel(sums[v], columns[d], pixel)
        if is_known and d >= begin:
            top, total, squares = _normalize(weights, shares)
            if total * total < ENOUGH * n * squares:
                _count_copies(shares, total, offsets[d], counts)
                _copy_particles(counts, sums, x, ancestors, d + 1)
                log_z += top + math.log2(total / n)
                weights[:] = ZERO
    top, total, _ = _normalize(weights, shares)
    for i in range(n):
        weights[i] = (weights[i] - top - math.log2(total)) * LN_2
    return (log_z + top + math.log2(total / n)) * LN_2


def _send_all(address):
    call = carray(address, 1)[0]
    tasks, n, end, n_in, n_out = call.n_tasks, call.batch, call.used, call.n_in, call.n_out
    x = carray(floats(call.x), (tasks, n, end))
    labels = carray(integers(call.rows), (tasks, n))
    known = carray(floats(call.known), (tasks, end))
    offsets = carray(floats(call.offsets), (tasks, end))
    begins = carray(integers(call.counts), tasks)
    start = carray(floats(call.start), (call.wanted, n_out))
    columns = carray(floats(call.columns), (n_in, PARTS, n_out))
    constants = carray(floats(call.constants), n_in + 1)
    weights = carray(floats(call.weights), (tasks, n))
    ancestors = carray(integers(call.kept), (tasks, n))
    totals = carray(doubles(call.total), tasks)
    i = next_task(address)
    while i < tasks:
        totals[i] = _send(
            x[i], labels[i], known[i], offsets[i], begins[i], start,
            columns, constants, constants[n_in], weights[i], ancestors[i],
        )  # fmt: skip
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any]:
    """The C function; `constants` are the biases and, after them, epsilon."""
    return (c_function(_send_all),)
