"""The compiled loops of the CPU kernel: forward and backward of one layer, in float32.

Notation, for one neuron and input k, in base 2 so that an exponential needs no change of base:

    z_k = (x_k - mean_k) * rate_k        rate  = sqrt(log2(e) / 2) / scale
    t_k = level_k - z_k**2               level = log2(weight / scale), minus its row maximum
    score = offset + log(sum_k 2**t_k)

Forward prepares these constants once a step and hands them to backward. No t_k exceeds 0, so
the usual, *near* row needs no running maximum. A *far* row, whose sum would lose digits or
underflow, or whose input is not finite, is computed in float64 around its true maximum. Forward
saves one number a score, the sum, negative for a far row. Backward computes t_k again by the same
operations, so its 2**t_k / sum repeats forward's to the bit.

The near rows are written with explicit vectors (`compiled.vectors`), in blocks of four rows.
"""

# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, cfunc, from_dtype, njit, types

from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    add_terms,
    doubles,
    exp2,
    exp2_of_sum,
    floats,
    integers,
    larger,
    largest,
    load,
    multiply,
    next_task,
    splat,
    store,
    subtract,
    subtract_product,
    sum_lanes,
    weigh_terms,
)

__all__ = ["CALL", "ROWS", "SLOTS", "TILE", "c_function", "passes"]

ROWS = 4  # rows that share one load of a neuron's constants
TILE = 2**17  # floats in a block of rows: with its gradient 1 MiB, half a usual L2 cache
SLOTS = 4  # a neuron's prepared constants: mean, rate, level and weight
LN_2 = math.log(2.0)
LOG2_E = 1.0 / LN_2
LOG2_E_HIGH = np.float32(LOG2_E)
LOG2_E_LOW = np.float32(LOG2_E - float(LOG2_E_HIGH))
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
ROOT = math.sqrt(0.5 * LOG2_E)
ROOT_HIGH = np.float32(ROOT)
ROOT_LOW = np.float32(math.log2(ROOT / float(ROOT_HIGH)))
SLOPE = np.float32(-2.0 * LN_2)  # the derivative of a score by x is w * z * rate * SLOPE
NEAR = np.float32(2.0**-24)  # a smaller sum makes a far row
HUGE = 60  # inputs and rates from 2**HUGE on would make z infinite
LARGEST = np.float32(2.0**HUGE)
OVERFLOW = np.float32(2.0 ** (128 - HUGE))  # times such an input is infinite
ZERO = np.float32(0.0)
LOWEST_LOG_SCALE = np.float32(-41.0)  # keeps rates below 2**HUGE
MINUS_INF = np.float32(-np.inf)

inlined = njit(forceinline=True, error_model="numpy")
compiled = njit(error_model="numpy")


@inlined
def padded(n):
    """How many floats hold n in whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@inlined
def rate_of(log_scale):
    """ROOT / scale; the exponent keeps the digits that one float32 product would lose."""
    log_scale = larger(splat(LOWEST_LOG_SCALE), log_scale)
    t = multiply(log_scale, splat(-LOG2_E_HIGH))
    rest = subtract_product(subtract(splat(ZERO), t), log_scale, splat(LOG2_E_HIGH))
    rest = subtract_product(add(rest, splat(ROOT_LOW)), log_scale, splat(LOG2_E_LOW))
    return multiply(exp2_of_sum(t, rest), splat(ROOT_HIGH))


@compiled
def _prepare(loc, log_scale, logits, constants):
    """Fill one neuron's constants, one slot after another; return the offset of its scores."""
    n, width = loc.size, constants.size // SLOTS
    mean, rate = constants[:width], constants[width : 2 * width]
    level, weight = constants[2 * width : 3 * width], constants[3 * width :]
    mean[:n] = loc
    rate[:n] = log_scale
    weight[:n] = logits
    mean[n:] = ZERO
    rate[n:] = ZERO
    weight[n:] = MINUS_INF
    log2_e, best = splat(LOG2_E_HIGH), splat(MINUS_INF)
    for k in range(0, width, LANES):
        best = larger(load(weight, k), best)
    top_logit = largest(best)
    total, best = splat(ZERO), splat(MINUS_INF)
    for k in range(0, width, LANES):
        logit, log_width = load(weight, k), load(rate, k)
        e = exp2(multiply(subtract(logit, splat(top_logit)), log2_e))
        ratio = subtract(logit, log_width)
        total, best = add(total, e), larger(ratio, best)
        store(rate, k, rate_of(log_width))
        store(level, k, ratio)
        store(weight, k, e)
    sum_of_weights, top = sum_lanes(total), largest(best)
    share = splat(np.float32(1.0) / sum_of_weights)
    for k in range(0, width, LANES):
        store(level, k, multiply(subtract(load(level, k), splat(top)), log2_e))
        store(weight, k, multiply(load(weight, k), share))
    log_total = np.float64(top_logit) + math.log(np.float64(sum_of_weights))
    return np.float64(top) - log_total - HALF_LOG_2PI


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


@compiled
def _prepare_far(log_scale, logits, rate, level):
    """The constants of `_prepare` in float64; return the top log ratio."""
    top = MINUS_INF
    for k in range(log_scale.size):
        ratio = logits[k] - log_scale[k]
        top = ratio if ratio > top else top
    for k in range(log_scale.size):
        log_width = np.float64(log_scale[k])
        rate[k] = ROOT * math.exp(min(-log_width, 300.0))
        level[k] = (np.float64(logits[k]) - log_width - np.float64(top)) * LOG2_E


@compiled
def _far_terms(x, loc, rate, level, z, t):
    """Fill z and t of one row in float64; return the largest t."""
    shift = -1e300
    for k in range(loc.size):
        z[k] = (np.float64(x[k]) - np.float64(loc[k])) * rate[k]
        t[k] = level[k] - z[k] * z[k]
        shift = t[k] if t[k] > shift else shift
    return shift


@compiled
def finish_scores(x, total, score, ordinary, loc, log_scale, logits, offset, j, far):
    """Turn one neuron's sums of near rows into scores; compute its far rows.

    `far` (4, inputs) is room for a neuron's far constants and a row's terms.
    """
    rate, level, z, t = far[0], far[1], far[2], far[3]
    prepared = False
    for b in range(x.shape[0]):
        if total[b, j] >= NEAR and ordinary[b]:
            score[b, j] = np.float32(offset) + math.log(total[b, j])
            continue
        if not prepared:
            _prepare_far(log_scale, logits, rate, level)
            prepared = True
        shift = _far_terms(x[b], loc, rate, level, z, t)
        far_sum = 0.0
        for k in range(x.shape[1]):
            far_sum += 2.0 ** (t[k] - shift)
        total[b, j] = -far_sum
        score[b, j] = offset + shift * LN_2 + math.log(far_sum)


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


@inlined
def near_pair(x0, x1, weight0, weight1, m, r, c, s0, s1, s2):
    """Add a vector of components of two rows to the sums; also return their w * z."""
    z0, z1, w0, w1 = weigh_terms(x0, x1, weight0, weight1, m, r, c)
    wz0, wz1 = multiply(w0, z0), multiply(w1, z1)
    s0, s1 = add(add(s0, w0), w1), add(add(s1, wz0), wz1)
    return s0, s1, add_product(add_product(s2, wz0, z0), wz1, z1), wz0, wz1


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
def add_far_rows(x, total, grad, loc, log_scale, logits, j, far, sums, dtile, inputs):
    """Add one neuron's far rows to its sums and to their inputs' gradients."""
    rate, level, z, t = far[0], far[1], far[2], far[3]
    width = sums.size // 3
    prepared = False
    for b in range(x.shape[0]):
        if total[b, j] > ZERO:
            continue
        if not prepared:
            _prepare_far(log_scale, logits, rate, level)
            prepared = True
        shift = _far_terms(x[b], loc, rate, level, z, t)
        weight = -np.float64(grad[b, j]) / np.float64(total[b, j])
        for k in range(x.shape[1]):
            w = 2.0 ** (t[k] - shift) * weight
            if w != 0.0:  # an infinite input has no gradient where its component has no weight
                wz = w * z[k]
                sums[k] += np.float32(w)
                sums[width + k] += np.float32(wz)
                sums[2 * width + k] += np.float32(wz * z[k])
                if inputs:
                    dtile[b * width + k] += np.float32(wz * rate[k] * SLOPE)


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
def finish_gradients(by_logits, by_loc, by_log_scale, constants, grad_sum):
    """Turn a neuron's sums of w, w * z and w * z**2, in place, into its gradients."""
    width = constants.size // SLOTS
    rate, weight, grad_sum = constants[width:], constants[3 * width :], np.float32(grad_sum)
    for k in range(by_loc.size):
        w = by_logits[k]
        by_logits[k] = w - weight[k] * grad_sum
        by_loc[k] *= rate[k] * -SLOPE
        by_log_scale[k] = by_log_scale[k] * -SLOPE - w


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


# What enters a C function is one record of sizes and addresses: Numba would unpack an array a
# microsecond, and a layer has a dozen; and an OpenMP runtime hands over one pointer. Numba's disk
# cache looks for changes in the file of a C function and in its types only, not in what it calls
# from other files; so the record's last field is named after the sources in all rooms.
_FILES = sorted(Path(__file__).parents[1].glob("*/*.py"))
_SOURCES = zlib.crc32(b"".join(file.read_bytes() for file in _FILES))
CALL = np.dtype(
    [
        (name, np.int64)
        for name in (
            "counter", "n_tasks", "tasks", "batch", "n_out", "n_in", "dx_rows",
            "x", "loc", "log_scale", "logits", "constants", "total", "offsets", "score",
            "grad", "dx", "by_loc", "by_log_scale", "by_logits", "more_dx", "more_sums",
            "columns", "at_zero", "zero_sums", "values", "rows", "counts", "ordinary",
            "weights", "start", "dstart", "states", "after", "used", "wanted",
            f"sources_{_SOURCES}",
        )
    ]
)  # fmt: skip
c_function = cfunc(types.void(types.CPointer(from_dtype(CALL))), cache=True, error_model="numpy")


@inlined
def layer_of(call):
    """The arrays of x, loc, log_scale, logits, the constants and the sums."""
    shape = (call.n_out, call.n_in)
    return (
        carray(floats(call.x), (call.batch, call.n_in)),
        carray(floats(call.loc), shape),
        carray(floats(call.log_scale), shape),
        carray(floats(call.logits), shape),
        carray(floats(call.constants), (call.n_out, SLOTS * padded(call.n_in))),
        carray(floats(call.total), (call.batch, call.n_out)),
    )


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


def prepare_all(address):
    call = carray(address, 1)[0]
    _, loc, log_scale, logits, constants, _ = layer_of(call)
    offsets = carray(doubles(call.offsets), call.n_out)
    i = next_task(address)
    while i < call.n_tasks:
        for j in range(i * call.n_out // call.n_tasks, (i + 1) * call.n_out // call.n_tasks):
            offsets[j] = _prepare(loc[j], log_scale[j], logits[j], constants[j])
        i = next_task(address)


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
