"""One neuron on a CPU, in float32: its constants, its scores and gradients.

Notation, for one neuron and input k, in base 2 so that an exponential needs no change of base:

    z_k = (x_k - mean_k) * rate_k        rate  = sqrt(log2(e) / 2) / scale
    t_k = level_k - z_k**2               level = log2(weight / scale), minus its row maximum
    score = offset + log(sum_k 2**t_k)

Of inputs that are not known the components are left out, and log(sum_k weight_k) of the *kept*
weights, those of the known inputs, is subtracted; that sum is a product of two matrices.

Forward prepares these constants once a step and hands them to backward. No t_k exceeds 0, so
the usual, *near* row needs no running maximum. A *far* row (`far`), one of whose sums would lose
digits or underflow, or whose input is not finite, is computed in float64 around its true maximum.
Forward saves one number a score, the sum, negative for a far row, and the kept weights' sum where
inputs are unknown. Backward computes t_k again by the same operations, so its 2**t_k / sum repeats
forward's to the bit.

The loops over near rows are those of `loops`, for few inputs of `narrow`, and for inputs that are
mostly zero of `zeros`.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
import math
from typing import Any

import numpy as np
from numba import carray

from ugmm.kernels.compiled.base2 import (
    HALF_LOG_2PI,
    LOG2_E_HIGH,
    MINUS_INF,
    SLOPE,
    ZERO,
)
from ugmm.kernels.compiled.call import c_function, compiled, inlined, padded
from ugmm.kernels.compiled.scales import widths_of
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    doubles,
    exp2,
    flags,
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
    sum_lanes,
    weigh_terms,
)

__all__ = [
    "LARGEST", "LEVEL", "OVERFLOW", "SLOTS", "WEIGHT", "finish_gradients", "known_of", "layer_of",
    "near_pair", "passes", "scores_of", "tasks_of",
]  # fmt: skip

SLOTS = 5  # a neuron's prepared constants: mean, rate, level, weight, and by how much ...
LEVEL, WEIGHT, SLOPES = 2, 3, 4  # ... the logarithm of its scale follows log_scale
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


@inlined
def known_of(call):
    """The arrays of known inputs and of kept weights' sums; of no element where all are known."""
    rows = call.batch if call.known else 0
    return (
        carray(flags(call.known), (rows, call.n_in)),
        carray(floats(call.kept), (rows, call.n_out)),
    )


@inlined
def scores_of(call):
    """The arrays of the neurons' offsets and of the scores."""
    return (
        carray(doubles(call.offsets), call.n_out),
        carray(floats(call.score), (call.batch, call.n_out)),
    )


@inlined
def tasks_of(call):
    """The lines of `threads.split`."""
    return carray(integers(call.tasks), (call.n_tasks, 6))


@compiled
def _prepare(loc, log_scale, logits, min_scale, constants):
    """Fill one neuron's constants, one slot after another; return the offset of its scores."""
    n, width = loc.size, constants.size // SLOTS
    mean, rate = constants[:width], constants[width : 2 * width]
    level, weight = constants[2 * width : 3 * width], constants[3 * width : 4 * width]
    slopes = constants[4 * width :]
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
        logit = load(weight, k)
        log_width, rates, slope = widths_of(load(rate, k), min_scale)
        e = exp2(multiply(subtract(logit, splat(top_logit)), log2_e))
        ratio = subtract(logit, log_width)
        total, best = add(total, e), larger(ratio, best)
        store(rate, k, rates)
        store(slopes, k, slope)
        store(level, k, ratio)
        store(weight, k, e)
    sum_of_weights, top = sum_lanes(total), largest(best)
    share = splat(np.float32(1.0) / sum_of_weights)
    for k in range(0, width, LANES):
        store(level, k, multiply(subtract(load(level, k), splat(top)), log2_e))
        store(weight, k, multiply(load(weight, k), share))
    log_total = np.float64(top_logit) + math.log(np.float64(sum_of_weights))
    return np.float64(top) - log_total - HALF_LOG_2PI


def _prepare_all(address):
    """The tasks of a pass, as `loops.passes`: the constants and offsets of all neurons."""
    call = carray(address, 1)[0]
    _, loc, log_scale, logits, constants, _ = layer_of(call)
    offsets = carray(doubles(call.offsets), call.n_out)
    i = next_task(address)
    while i < call.n_tasks:
        for j in range(i * call.n_out // call.n_tasks, (i + 1) * call.n_out // call.n_tasks):
            offsets[j] = _prepare(loc[j], log_scale[j], logits[j], call.min_scale, constants[j])
        i = next_task(address)


@inlined
def near_pair(x0, x1, weight0, weight1, m, r, c, s0, s1, s2):
    """Add a vector of components of two rows to the sums; also return their w * z."""
    z0, z1, w0, w1 = weigh_terms(x0, x1, weight0, weight1, m, r, c)
    wz0, wz1 = multiply(w0, z0), multiply(w1, z1)
    s0, s1 = add(add(s0, w0), w1), add(add(s1, wz0), wz1)
    return s0, s1, add_product(add_product(s2, wz0, z0), wz1, z1), wz0, wz1


@compiled
def finish_gradients(by_logits, by_loc, by_log_scale, constants, grad_sum):
    """Turn a neuron's sums of w, w * z and w * z**2, in place, into its gradients.

    Of kept weights `far.subtract_kept` takes off the gradient of the sum; `grad_sum` is 0 then.
    """
    width = constants.size // SLOTS
    rate, weight, slopes = (
        constants[width:],
        constants[WEIGHT * width :],
        constants[SLOPES * width :],
    )
    for k in range(by_loc.size):
        w = by_logits[k]
        by_logits[k] = w - weight[k] * np.float32(grad_sum)
        by_loc[k] *= rate[k] * -SLOPE
        by_log_scale[k] = (by_log_scale[k] * -SLOPE - w) * slopes[k]


def _divide(address):
    """Divide the scores' gradients by sums, where rows are near; rows are padded to vectors."""
    call = carray(address, 1)[0]
    shape = (call.batch, call.n_out)
    grad, total = carray(floats(call.grad), shape), carray(floats(call.total), shape)
    divisor = carray(floats(call.divisor), shape)
    weights = carray(floats(call.weights), (call.batch, padded(call.n_out)))
    i = next_task(address)
    while i < call.n_tasks:
        for b in range(i * call.batch // call.n_tasks, (i + 1) * call.batch // call.n_tasks):
            for j in range(call.n_out):
                near = total[b, j] > ZERO
                weights[b, j] = grad[b, j] / divisor[b, j] if near else ZERO
            weights[b, call.n_out :] = ZERO
        i = next_task(address)


@functools.cache
def passes() -> tuple[Any, Any]:
    """The C functions, as `loops.passes`, that prepare the constants and divide gradients."""
    return c_function(_prepare_all), c_function(_divide)
