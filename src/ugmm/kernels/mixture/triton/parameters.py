"""The Triton kernel before the score's: what these need of a layer's parameters.

Notation as in `near`. A layer's *table* holds, one behind the other,

    mean, rate, level, weight   float32, (out, stride), in turn for every PADDING inputs
    rate, level                 float64, (2, out, in): what far scores are computed from
    offset, norm                float64, (2, out)

where `norm` is the log of a neuron's summed weights.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import inspect
import math

import triton
import triton.language as tl

__all__ = [
    "BLOCK", "INTERPRETED",
    "LN_2",
    "LOG2_E",
    "MINUS_INF",
    "PADDING",
    "ROOT",
    "SLOPE",
    "SLOTS",
    "compiled",
    "exact",
    "near",
    "near_place",
    "prepare",
    "stride_of",
    "table_size",
]  # fmt: skip

INTERPRETED = triton.knobs.runtime.interpret
# Rows of constants are padded to a multiple of the inputs in a tile: forward has no mask for them.
PADDING = tl.constexpr(256 if INTERPRETED else 32)
SLOTS = tl.constexpr(4)
BLOCK = 1024 if INTERPRETED else 256  # components that a program prepares or finishes at once

LN_2 = tl.constexpr(math.log(2.0))
LOG2_E = tl.constexpr(1.0 / math.log(2.0))
HALF_LOG_2PI = tl.constexpr(0.5 * math.log(2.0 * math.pi))
ROOT = tl.constexpr(math.sqrt(0.5 / math.log(2.0)))
SLOPE = tl.constexpr(-2.0 * math.log(2.0))  # a score's derivative by x is w * z * rate * SLOPE
HUGE = tl.constexpr(2.0**60)
MINUS_INF = tl.constexpr(float("-inf"))

# Sizes that are no multiple of 16 in general. The loads along them are then never split into
# vectors, which would have to be spread over the lanes again.
_SIZES = [
    "_bucket",
    "batch",
    "n_out",
    "n_in",
    "stride",
    "rows_each",
    "rows",
    "outs",
    "of_parameters",
]


def compiled(function):
    """A kernel, compiled once for all sizes."""
    sizes = [name for name in inspect.signature(function).parameters if name in _SIZES]
    return triton.jit(function, do_not_specialize=sizes)


def stride_of(n_in):
    """How many float32 numbers of a neuron lie together in the table."""
    return SLOTS.value * (-(-n_in // PADDING.value) * PADDING.value)


def table_size(n_out, n_in):
    """How many float64 numbers the table is as large as."""
    return n_out * (stride_of(n_in) // 2 + 2 * n_in + 2)


@triton.jit
def near_place(k):
    """Where in a neuron's part of the table the mean of component k is; the others lie behind."""
    return k // PADDING * (SLOTS * PADDING) + k % PADDING


@triton.jit
def exact(table, n_out, stride):
    """Where the table's second part begins."""
    return table + n_out.to(tl.int64) * (stride // 2)


@triton.jit
def near(table):
    """The table's first part."""
    return table.to(tl.pointer_type(tl.float32))


@triton.jit
def _width_and_rate(log_scale, min_scale):
    """The logarithm of a standard deviation; and ROOT over it."""
    log_width = log_scale.to(tl.float64)
    if min_scale > 0.0:
        whole = tl.log(min_scale + tl.exp(log_width))
        log_width = tl.where(log_width < 700.0, whole, log_width)  # e**700 is finite
    return log_width, tl.exp(tl.minimum(-log_width, 300.0)) * ROOT


@compiled
def prepare(
    loc, log_scale, logits, min_scale: tl.float64, table, n_out, n_in, stride, BK: tl.constexpr
):
    """One neuron's part of the table."""
    j = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, BK)
    rates = exact(table, n_out, stride)
    levels = rates + n_out.to(tl.int64) * n_in
    neurons = levels + n_out.to(tl.int64) * n_in
    peak = tl.full([BK], MINUS_INF, tl.float32)
    top = tl.full([BK], MINUS_INF, tl.float64)
    for start in range(0, n_in, BK):
        real = start + k < n_in
        at = j * n_in + start + k
        logit = tl.load(logits + at, real, MINUS_INF)
        log_width, rate = _width_and_rate(tl.load(log_scale + at, real, 0.0), min_scale)
        level = logit - log_width
        tl.store(rates + at, rate, real)
        tl.store(levels + at, level, real)
        peak = tl.maximum(peak, logit)
        top = tl.maximum(top, level)
    peak = tl.max(peak, 0)
    top = tl.max(top, 0)
    total = tl.zeros([BK], tl.float32)
    for start in range(0, n_in, BK):
        real = start + k < n_in
        total += tl.exp(tl.load(logits + j * n_in + start + k, real, MINUS_INF) - peak)
    norm = peak.to(tl.float64) + tl.log(tl.sum(total, 0).to(tl.float64))
    tl.store(neurons + j, top - norm - HALF_LOG_2PI)
    tl.store(neurons + n_out + j, norm)
    tl.debug_barrier()  # rates and levels are read by other threads than wrote them
    for start in range(0, stride // SLOTS, BK):
        real = start + k < n_in
        at = j * n_in + start + k
        rate = tl.load(rates + at, real, 0.0)
        level = (tl.load(levels + at, real, MINUS_INF) - top) * LOG2_E
        logit = tl.load(logits + at, real, MINUS_INF)
        mean = tl.load(loc + at, real, 0.0)
        tl.store(levels + at, level, real)
        inside = start + k < stride // SLOTS
        at = near(table) + j * stride + near_place(start + k)
        tl.store(at, mean, inside)
        tl.store(at + PADDING, tl.minimum(rate, HUGE).to(tl.float32), inside)
        tl.store(at + 2 * PADDING, level.to(tl.float32), inside)
        tl.store(at + 3 * PADDING, tl.exp((logit - norm).to(tl.float32)), inside)
