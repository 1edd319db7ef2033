"""One neuron on a CPU, in float32: its constants, its far rows, its scores and gradients.

Notation, for one neuron and input k, in base 2 so that an exponential needs no change of base:

    z_k = (x_k - mean_k) * rate_k        rate  = sqrt(log2(e) / 2) / scale
    t_k = level_k - z_k**2               level = log2(weight / scale), minus its row maximum
    score = offset + log(sum_k 2**t_k)

Forward prepares these constants once a step and hands them to backward. No t_k exceeds 0, so
the usual, *near* row needs no running maximum. A *far* row, whose sum would lose digits or
underflow, or whose input is not finite, is computed in float64 around its true maximum. Forward
saves one number a score, the sum, negative for a far row. Backward computes t_k again by the same
operations, so its 2**t_k / sum repeats forward's to the bit.

The loops over near rows are those of `loops`, for few inputs of `narrow`, and for inputs that are
mostly zero of `zeros`.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import math

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import (
    HALF_LOG_2PI,
    LN_2,
    LOG2_E,
    LOG2_E_HIGH,
    MINUS_INF,
    ROOT,
    SLOPE,
    ZERO,
    rate_of,
)
from ugmm.kernels.compiled.call import compiled, inlined, padded
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    doubles,
    exp2,
    floats,
    larger,
    largest,
    load,
    multiply,
    next_task,
    splat,
    store,
    subtract,
    sum_lanes,
    weigh_terms,
)

__all__ = [
    "LARGEST", "NEAR", "OVERFLOW", "SLOTS", "add_far_rows", "finish_gradients", "finish_scores",
    "layer_of", "near_pair", "prepare_all", "score_far_rows",
]  # fmt: skip

SLOTS = 4  # a neuron's prepared constants: mean, rate, level and weight
NEAR = np.float32(2.0**-24)  # a smaller sum makes a far row
HUGE = 60  # inputs and rates from 2**HUGE on would make z infinite
LARGEST = np.float32(2.0**HUGE)
OVERFLOW = np.float32(2.0 ** (128 - HUGE))  # times such an input is infinite


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


def prepare_all(address):
    """The tasks of a pass, as `loops.passes`: the constants and offsets of all neurons."""
    call = carray(address, 1)[0]
    _, loc, log_scale, logits, constants, _ = layer_of(call)
    offsets = carray(doubles(call.offsets), call.n_out)
    i = next_task(address)
    while i < call.n_tasks:
        for j in range(i * call.n_out // call.n_tasks, (i + 1) * call.n_out // call.n_tasks):
            offsets[j] = _prepare(loc[j], log_scale[j], logits[j], constants[j])
        i = next_task(address)


@inlined
def near_pair(x0, x1, weight0, weight1, m, r, c, s0, s1, s2):
    """Add a vector of components of two rows to the sums; also return their w * z."""
    z0, z1, w0, w1 = weigh_terms(x0, x1, weight0, weight1, m, r, c)
    wz0, wz1 = multiply(w0, z0), multiply(w1, z1)
    s0, s1 = add(add(s0, w0), w1), add(add(s1, wz0), wz1)
    return s0, s1, add_product(add_product(s2, wz0, z0), wz1, z1), wz0, wz1


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
    any_far = False
    for b in range(x.shape[0]):
        if total[b, j] >= NEAR and ordinary[b]:
            score[b, j] = np.float32(offset) + math.log(total[b, j])
        else:
            any_far = True
    if any_far:
        score_far_rows(x, total, score, ordinary, loc, log_scale, logits, offset, j, far)


@compiled
def score_far_rows(x, total, score, ordinary, loc, log_scale, logits, offset, j, far):
    """Compute one neuron's far rows, as `finish_scores`."""
    rate, level, z, t = far[0], far[1], far[2], far[3]
    prepared = False
    for b in range(x.shape[0]):
        if total[b, j] >= NEAR and ordinary[b]:
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
def finish_gradients(by_logits, by_loc, by_log_scale, constants, grad_sum):
    """Turn a neuron's sums of w, w * z and w * z**2, in place, into its gradients."""
    width = constants.size // SLOTS
    rate, weight, grad_sum = constants[width:], constants[3 * width :], np.float32(grad_sum)
    for k in range(by_loc.size):
        w = by_logits[k]
        by_logits[k] = w - weight[k] * grad_sum
        by_loc[k] *= rate[k] * -SLOPE
        by_log_scale[k] = by_log_scale[k] * -SLOPE - w
