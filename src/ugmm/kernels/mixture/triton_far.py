"""The Triton kernels of far scores; notation as in `triton_kernels`.

Where all t_k are large, the digits of their differences are lost in float32. So these kernels,
which leave at once where all scores of their tile are near, do far scores again with t_k in
float64 and a running maximum and sum.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import triton
import triton.language as tl

from ugmm.kernels.mixture.triton_kernels import LN_2, LOG2_E, MINUS_INF, SLOPE, compiled

__all__ = ["far_backward", "revisit", "weigh"]

LOWEST = tl.constexpr(-1e300)  # below any maximum, yet finite: the difference of two is no NaN


@triton.jit
def _far_constants(loc, log_scale, logits, rates, top, at, real):
    """Mean, rate and level of far components, in float64."""
    mean = tl.load(loc + at, real, 0.0).to(tl.float64)
    log_width = tl.load(log_scale + at, real, 0.0).to(tl.float64)
    logit = tl.load(logits + at, real, MINUS_INF).to(tl.float64)
    level = (logit - log_width - top[:, None]) * LOG2_E
    return mean, tl.load(rates + at, real, 0.0), level


@triton.jit
def _far_sum(x, loc, log_scale, logits, rates, top, at, n_in, BM: tl.constexpr, BK: tl.constexpr):
    """One row's running maximum and sum, for the neurons whose parameters begin at `at`."""
    k = tl.arange(0, BK)
    shift = tl.full([BM], LOWEST, tl.float64)
    total = tl.zeros([BM], tl.float32)
    for start in range(0, n_in, BK):
        real = start + k < n_in
        mean, rate, level = _far_constants(
            loc, log_scale, logits, rates, top, at[:, None] + (start + k)[None, :], real[None, :]
        )
        z = (tl.load(x + start + k, real, 0.0).to(tl.float64)[None, :] - mean) * rate
        t = level - z * z
        peak = tl.maximum(shift, tl.max(t, 1))
        terms = tl.exp2((t - peak[:, None]).to(tl.float32))
        total = total * tl.exp2((shift - peak).to(tl.float32)) + tl.sum(terms, 1)
        shift = peak
    return shift, total


@triton.jit
def _far(total, at, inside):
    """Which of these scores are far: a NaN is."""
    return (tl.load(total + at, inside, 1.0) > 0.0) == 0


@triton.jit
def _any(mask):
    return tl.max(tl.max(mask.to(tl.int32), 1), 0) > 0


@compiled
def revisit(
    x,
    loc,
    log_scale,
    logits,
    rates,
    neurons,
    score,
    total,
    batch,
    n_out,
    n_in,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """The far scores of a tile and their sums."""
    tiles = tl.cdiv(n_out, BM)
    b0 = tl.program_id(0) // tiles * BB
    j = tl.program_id(0) % tiles * BM + tl.arange(0, BM)
    b = (b0 + tl.arange(0, BB)).to(tl.int64)
    inside = j < n_out
    tile = (b < batch)[:, None] & inside[None, :]
    if _any(_far(total, b[:, None] * n_out + j[None, :], tile)):
        top = tl.load(neurons + n_out + j, inside, 0.0)
        offset = tl.load(neurons + j, inside, 0.0)
        outs = tl.minimum(j, n_out - 1).to(tl.int64) * n_in
        for row in range(b0, tl.minimum(b0 + BB, batch)):
            at = tl.cast(row, tl.int64) * n_out + j
            far = _far(total, at, inside)
            if tl.max(far.to(tl.int32), 0) > 0:
                x_row = x + tl.cast(row, tl.int64) * n_in
                shift, far_sum = _far_sum(
                    x_row, loc, log_scale, logits, rates, top, outs, n_in, BM, BK
                )
                value = offset + shift * LN_2 + tl.log(far_sum.to(tl.float64))
                tl.store(score + at, value.to(tl.float32), far)
                tl.store(total + at, -far_sum, far)


@compiled
def weigh(
    x,
    loc,
    log_scale,
    logits,
    rates,
    neurons,
    grad,
    total,
    weight,
    shift,
    batch,
    n_out,
    n_in,
    padded,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """A tile's gradients over sums, 0 where far and in the padding; and the far maxima."""
    tiles = tl.cdiv(padded, BM)
    b0 = tl.program_id(0) // tiles * BB
    j = tl.program_id(0) % tiles * BM + tl.arange(0, BM)
    b = (b0 + tl.arange(0, BB)).to(tl.int64)
    inside = j < n_out
    tile = (b < batch)[:, None] & inside[None, :]
    tile_at = b[:, None] * n_out + j[None, :]
    sums = tl.load(total + tile_at, tile, 1.0)
    near = sums > 0.0
    ratio = tl.where(near, tl.load(grad + tile_at, tile, 0.0) / sums, 0.0)
    within = (b < batch)[:, None] & (j < padded)[None, :]
    tl.store(weight + b[:, None] * padded + j[None, :], ratio, within)
    if _any(near == 0):
        top = tl.load(neurons + n_out + j, inside, 0.0)
        outs = tl.minimum(j, n_out - 1).to(tl.int64) * n_in
        for row in range(b0, tl.minimum(b0 + BB, batch)):
            at = tl.cast(row, tl.int64) * n_out + j
            far = _far(total, at, inside)
            if tl.max(far.to(tl.int32), 0) > 0:
                x_row = x + tl.cast(row, tl.int64) * n_in
                peak, _ = _far_sum(x_row, loc, log_scale, logits, rates, top, outs, n_in, BM, BK)
                tl.store(shift + at, peak, far)


@triton.jit
def _far_weights(z, level, grad, total, shift, at, far):
    """The gradients of one row's scores, each times its components' responsibilities."""
    share = -tl.load(grad + at, far, 0.0) / tl.load(total + at, far, -1.0)
    t = level - z * z - tl.load(shift + at, far, 0.0)[:, None]
    return (tl.exp2(t.to(tl.float32)) * share[:, None]).to(tl.float64)


@triton.jit
def _add_sums(at, plane, sum0, sum1, sum2, mask):
    tl.store(at, tl.load(at, mask, 0.0) + sum0, mask)
    at += plane
    tl.store(at, tl.load(at, mask, 0.0) + sum1, mask)
    at += plane
    tl.store(at, tl.load(at, mask, 0.0) + sum2, mask)


@compiled
def far_backward(
    x,
    loc,
    log_scale,
    logits,
    rates,
    neurons,
    grad,
    total,
    shift,
    dx,
    sums,
    batch,
    n_out,
    n_in,
    rows_each,
    outs_each,
    NEED_X: tl.constexpr,
    NEED_PARAMETERS: tl.constexpr,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """Add the far scores of a part to what `triton_kernels.backward` found for its near ones."""
    k = tl.program_id(0) * BK + tl.arange(0, BK)
    part_of_outs = tl.program_id(1)
    part_of_rows = tl.program_id(2)
    real = k < n_in
    first = part_of_rows * rows_each
    last = tl.minimum(first + rows_each, batch)
    first_out = part_of_outs * outs_each
    dx += part_of_outs.to(tl.int64) * batch * n_in
    for j0 in range(first_out, tl.minimum(first_out + outs_each, n_out), BM):
        j = j0 + tl.arange(0, BM)
        inside = j < n_out
        for b0 in range(first, last, BB):
            b = (b0 + tl.arange(0, BB)).to(tl.int64)
            tile = (b < last)[:, None] & inside[None, :]
            if _any(_far(total, b[:, None] * n_out + j[None, :], tile)):
                top = tl.load(neurons + n_out + j, inside, 0.0)
                outs = tl.minimum(j, n_out - 1).to(tl.int64)[:, None] * n_in + k[None, :]
                mean, rate, level = _far_constants(
                    loc, log_scale, logits, rates, top, outs, real[None, :]
                )
                sum0 = tl.zeros([BM, BK], tl.float32)
                sum1 = tl.zeros([BM, BK], tl.float32)
                sum2 = tl.zeros([BM, BK], tl.float32)
                for row in range(b0, tl.minimum(b0 + BB, last)):
                    at = tl.cast(row, tl.int64) * n_out + j
                    far = _far(total, at, inside)
                    if tl.max(far.to(tl.int32), 0) > 0:
                        x_at = tl.cast(row, tl.int64) * n_in + k
                        z = (tl.load(x + x_at, real, 0.0).to(tl.float64)[None, :] - mean) * rate
                        w = _far_weights(z, level, grad, total, shift, at, far)
                        # An infinite input has no gradient where its component has no weight.
                        z = tl.where(w == 0.0, 0.0, z)
                        wz = w * z
                        sum0 += w.to(tl.float32)
                        sum1 += wz.to(tl.float32)
                        sum2 += (wz * z).to(tl.float32)
                        if NEED_X:
                            more = (tl.sum(wz * rate, 0) * SLOPE).to(tl.float32)
                            tl.store(dx + x_at, tl.load(dx + x_at, real, 0.0) + more, real)
                if NEED_PARAMETERS:
                    mask = inside[:, None] & real[None, :]
                    plane = n_out.to(tl.int64) * n_in
                    at = sums + part_of_rows.to(tl.int64) * 3 * plane + outs
                    _add_sums(at, plane, sum0, sum1, sum2, mask)
                tl.debug_barrier()  # the next rows or outputs add to what these wrote
