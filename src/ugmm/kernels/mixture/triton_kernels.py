"""The Triton kernels of the score: one layer, float32, bf16 or fp16 inputs.

Notation as in `neuron`, in base 2 so that an exponential is one instruction:

    z_k = (x_k - mean_k) * rate_k        rate  = sqrt(log2(e) / 2) / scale
    t_k = level_k - z_k**2               level = log2(weight / scale), minus its row maximum
    score = offset + log(sum_k 2**t_k)

A score is *near* if its sum is at least 2**-24: float32 then has the digits, and as no t_k
exceeds 0 the sum needs no running maximum. Any other score is *far*, and done again by the kernels
of `triton_far`. Forward leaves one number a score, the sum, negative for a far score.

The near kernels decide the speed. On Hopper an SM does 16 exponentials and 128 float32 operations
a clock. Forward takes 1 and 4 per component, so the exponential unit is its bound. Backward takes
1 and 9 for all gradients at once, since a program holds the constants of its components in
registers, runs through the rows, and adds its part of the input's gradient to a buffer of its
own; one kernel for the parameters and one for the input would take 2 and 14. What these buffers
hold is added up in a fixed order, so results repeat to the bit as long as the tile is the same;
Triton keeps the tiles it chose on disk. A program is one warp, whose lanes lie along the inputs:
all loads in the loops are coalesced or uniform, and nothing passes through shared memory.

A kernel is compiled once for all shapes. Rows and neurons have 64-bit offsets; within a tile and
within a row 32 bits suffice.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import math

import triton
import triton.language as tl

__all__ = [
    "INTERPRETED", "LN_2", "LOG2_E", "MINUS_INF", "PADDING", "SLOPE",
    "backward", "compiled", "finish", "forward", "prepare",
]  # fmt: skip

INTERPRETED = triton.knobs.runtime.interpret
# Rows of constants are padded to a multiple of the inputs in a tile: forward has no mask for them.
PADDING = tl.constexpr(256 if INTERPRETED else 32)

LN_2 = tl.constexpr(math.log(2.0))
LOG2_E = tl.constexpr(1.0 / math.log(2.0))
HALF_LOG_2PI = tl.constexpr(0.5 * math.log(2.0 * math.pi))
ROOT = tl.constexpr(math.sqrt(0.5 / math.log(2.0)))
SLOPE = tl.constexpr(-2.0 * math.log(2.0))  # a score's derivative by x is w * z * rate * SLOPE
NEAR = tl.constexpr(2.0**-24)  # a smaller sum makes a far score
# Backward clamps rates and inputs, so that z stays finite: an infinite input has no gradient where
# its component has no responsibility, which it has none of unless its scale is above 2**60.
HUGE = tl.constexpr(2.0**60)
CLAMP = tl.constexpr(2.0**66)
MINUS_INF = tl.constexpr(float("-inf"))

# Sizes that are no multiple of 16 in general. The loads along them are then never split into
# vectors, which would have to be spread over the lanes again.
_SIZES = ["_bucket", "batch", "n_out", "n_in", "width", "rows_each", "parts"]


def compiled(function):
    """A kernel, compiled once for all sizes."""
    sizes = [name for name in function.__code__.co_varnames if name in _SIZES]
    return triton.jit(function, do_not_specialize=sizes)


def _tuned(tiles, interpreted, key):
    # An interpreter has nothing to time, and is the faster the larger its tiles are.
    configs = [
        triton.Config({"BB": rows, "BM": outs, "BK": inputs}, num_warps=1)
        for rows, outs, inputs in ([interpreted] if INTERPRETED else tiles)
    ]
    return triton.autotune(configs, key, cache_results=True)


@compiled
def prepare(
    loc, log_scale, logits, constants, rates, neurons, n_out, n_in, width, BK: tl.constexpr
):
    """One neuron's constants: mean, rate and level, padded; rates in float64; offset, top, norm.

    `top` is the row maximum that its levels lack, `norm` the log of its summed weights.
    """
    j = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, BK)
    peak = tl.full([BK], MINUS_INF, tl.float32)
    top = tl.full([BK], MINUS_INF, tl.float32)
    for start in range(0, n_in, BK):
        real = start + k < n_in
        logit = tl.load(logits + j * n_in + start + k, real, MINUS_INF)
        peak = tl.maximum(peak, logit)
        top = tl.maximum(top, logit - tl.load(log_scale + j * n_in + start + k, real, 0.0))
    peak = tl.max(peak, 0)
    top = tl.max(top, 0)
    total = tl.zeros([BK], tl.float32)
    for start in range(0, width, BK):
        real = start + k < n_in
        at = j * n_in + start + k
        log_width = tl.load(log_scale + at, real, 0.0)
        logit = tl.load(logits + at, real, MINUS_INF)
        total += tl.exp(logit - peak)
        rate = ROOT * tl.exp(tl.minimum(-log_width.to(tl.float64), 300.0))
        tl.store(rates + at, rate, real)
        inside = start + k < width
        mean = tl.load(loc + at, real, 0.0)
        at = constants + j * width * 3 + _place(start + k)
        tl.store(at, mean, inside)
        tl.store(at + PADDING, tl.minimum(rate, HUGE).to(tl.float32), inside)
        tl.store(at + 2 * PADDING, (logit - log_width - top) * LOG2_E, inside)
    norm = peak.to(tl.float64) + tl.log(tl.sum(total, 0).to(tl.float64))
    tl.store(neurons + j, top.to(tl.float64) - norm - HALF_LOG_2PI)
    tl.store(neurons + n_out + j, top.to(tl.float64))
    tl.store(neurons + 2 * n_out + j, norm)


@triton.jit
def _place(k):
    """Where in a neuron's constants the mean of component k is; rate and level lie behind."""
    return k // PADDING * (3 * PADDING) + k % PADDING


@triton.jit
def _term(x, mean, rate, level):
    """Return z and 2**t of near components: what forward and backward must do alike."""
    z = (x - mean) * rate
    return z, tl.exp2(level - z * z)


@_tuned(
    [(8, 4, 32), (8, 8, 32), (4, 4, 32)],
    interpreted=(32, 8, 256),
    key=["_bucket", "n_out", "n_in"],
)
@compiled
def forward(
    x,
    constants,
    neurons,
    score,
    total,
    batch,
    n_out,
    n_in,
    width,
    _bucket,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """The near scores of a tile, and all its sums; a far score's sum is -1 for now."""
    tiles = tl.cdiv(n_out, BM)
    b0 = tl.program_id(0) // tiles * BB
    j0 = tl.program_id(0) % tiles * BM
    rows = tl.minimum(tl.arange(0, BB), batch - 1 - b0)
    outs = tl.minimum(tl.arange(0, BM), n_out - 1 - j0)
    k = tl.arange(0, BK)[None, None, :]
    x += b0.to(tl.int64) * n_in
    constants += j0.to(tl.int64) * width * 3
    x_at = rows[:, None, None] * n_in + k
    at = outs[None, :, None] * width * 3 + _place(k)
    sums = tl.zeros([BB, BM, BK], tl.float32)
    for start in range(0, n_in, BK):
        value = tl.load(x + start + x_at, start + k < n_in, 0.0).to(tl.float32)
        mean = tl.load(constants + 3 * start + at)
        rate = tl.load(constants + 3 * start + at + PADDING)
        level = tl.load(constants + 3 * start + at + 2 * PADDING)
        sums += _term(value, mean, rate, level)[1]
    sums = tl.sum(sums, 2)
    near = sums >= NEAR
    offset = tl.load(neurons + j0 + outs).to(tl.float32)[None, :]
    b = b0 + tl.arange(0, BB)
    j = j0 + tl.arange(0, BM)
    inside = (b < batch)[:, None] & (j < n_out)[None, :]
    at = b.to(tl.int64)[:, None] * n_out + j[None, :]
    tl.store(score + at, offset + tl.log2(tl.where(near, sums, 1.0)) * LN_2, inside)
    tl.store(total + at, tl.where(near, sums, -1.0), inside)


@triton.jit
def _store_sums(at, plane, sum0, sum1, sum2, inside):
    tl.store(at, sum0, inside)
    tl.store(at + plane, sum1, inside)
    tl.store(at + 2 * plane, sum2, inside)


@_tuned(
    [(1, 16, 32), (1, 8, 32), (1, 8, 64)],
    interpreted=(64, 8, 256),
    key=["_bucket", "n_out", "n_in", "NEED_X", "NEED_PARAMETERS"],
)
@compiled
def backward(
    x,
    constants,
    weight,
    dx,
    sums,
    batch,
    n_out,
    n_in,
    width,
    padded,
    rows_each,
    outs_each,
    _bucket,
    NEED_X: tl.constexpr,
    NEED_PARAMETERS: tl.constexpr,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """One part's gradient by the inputs; its sums of w, w * z and w * z**2 over its rows.

    w is a component's responsibility times the gradient of its score.
    """
    k = tl.program_id(0) * BK + tl.arange(0, BK)
    part_of_outs = tl.program_id(1)
    part_of_rows = tl.program_id(2)
    real = k < n_in
    first = part_of_rows * rows_each
    last = tl.minimum(first + rows_each, batch)
    first_out = part_of_outs * outs_each
    b = tl.arange(0, BB)
    dx += part_of_outs.to(tl.int64) * batch * n_in
    for j0 in range(first_out, tl.minimum(first_out + outs_each, n_out), BM):
        j = j0 + tl.arange(0, BM)
        row_of = tl.minimum(j, n_out - 1).to(tl.int64)[None, :, None] * width * 3
        at = constants + row_of + _place(k)[None, None, :]
        inside = (k < width)[None, None, :]
        mean = tl.load(at, inside, 0.0)
        rate = tl.load(at + PADDING, inside, 0.0)
        level = tl.load(at + 2 * PADDING, inside, MINUS_INF)
        sum0 = tl.zeros([BM, BK], tl.float32)
        sum1 = tl.zeros([BM, BK], tl.float32)
        sum2 = tl.zeros([BM, BK], tl.float32)
        for b0 in range(first, last, BB):
            row = tl.cast(b0, tl.int64)
            valid = (b0 + b < last)[:, None]
            x_at = row * n_in + b[:, None] * n_in + k[None, :]
            value = tl.load(x + x_at, valid & real[None, :], 0.0).to(tl.float32)
            value = tl.minimum(tl.maximum(value, -CLAMP), CLAMP)
            z, e = _term(value[:, None, :], mean, rate, level)
            share_at = row * padded + b[:, None] * padded + j[None, :]
            share = tl.load(weight + share_at, valid, 0.0)
            w = e * share[:, :, None]
            wz = w * z
            if NEED_PARAMETERS:
                sum0 += tl.sum(w, 0)
                sum1 += tl.sum(wz, 0)
                sum2 += tl.sum(wz * z, 0)
            if NEED_X:
                mask = valid & real[None, :]
                before = tl.load(dx + x_at, mask & (j0 > first_out), 0.0)
                tl.store(dx + x_at, before + tl.sum(wz * rate, 1) * SLOPE, mask)
        if NEED_PARAMETERS:
            inside = (j < n_out)[:, None] & real[None, :]
            at = sums + (part_of_rows * 3 * n_out + j).to(tl.int64)[:, None] * n_in + k[None, :]
            _store_sums(at, n_out.to(tl.int64) * n_in, sum0, sum1, sum2, inside)
        tl.debug_barrier()  # the next outputs add to what these wrote into dx


@compiled
def finish(
    sums,
    grads,
    rates,
    neurons,
    logits,
    by_loc,
    by_log_scale,
    by_logits,
    parts,
    n_out,
    n_in,
    BK: tl.constexpr,
):
    """Add up one neuron's sums, part by part, and turn them into its gradients."""
    j = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    real = k < n_in
    plane = n_out.to(tl.int64) * n_in
    at = j * n_in + k
    sum0 = tl.zeros([BK], tl.float32)
    sum1 = tl.zeros([BK], tl.float32)
    sum2 = tl.zeros([BK], tl.float32)
    for part in range(parts):
        start = sums + tl.cast(part, tl.int64) * 3 * plane + at
        sum0 += tl.load(start, real, 0.0)
        sum1 += tl.load(start + plane, real, 0.0)
        sum2 += tl.load(start + 2 * plane, real, 0.0)
    log_weight = tl.load(logits + at, real, MINUS_INF).to(tl.float64)
    weight = tl.exp((log_weight - tl.load(neurons + 2 * n_out + j)).to(tl.float32))
    slope = tl.load(rates + at, real, 0.0) * -SLOPE
    tl.store(by_logits + at, sum0 - weight * tl.load(grads + j).to(tl.float32), real)
    tl.store(by_loc + at, (sum1 * slope).to(tl.float32), real)
    tl.store(by_log_scale + at, sum2 * -SLOPE - sum0, real)
