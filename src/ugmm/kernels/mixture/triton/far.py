"""What the Triton kernels do with far scores; notation as in `near`.

Where all t_k are large, the digits of their differences are lost in float32. So the kernels, which
skip this where a tile has near scores only, do far scores again with t_k in float64 and a running
maximum and sum. Forward leaves the maxima for backward, which gets each t_k by the same
operations: of differences of huge t_k, the last digit counts.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import triton
import triton.language as tl

from ugmm.kernels.mixture.triton.parameters import LN_2, LOG2_E, MINUS_INF, SLOPE, exact

__all__ = ["any_of", "far_of_input", "far_of_neuron", "revisit", "totals"]

LOWEST = tl.constexpr(-1e300)  # below any maximum, yet finite: the difference of two is no NaN
MANY = tl.constexpr(32)  # scores looked at together


@triton.jit
def totals(saved, batch, n_out, MASKED: tl.constexpr):
    """Where the sums begin in what forward saves, with kept weights' sums behind them.

    Before them lie in float64 the maxima of far scores and, with a mask, the logarithms of their
    kept weights' sums.
    """
    plane = batch.to(tl.int64) * n_out
    return (saved + (2 * plane if MASKED else plane)).to(tl.pointer_type(tl.float32))


@triton.jit
def any_of(mask):
    """Whether a matrix of truths has one."""
    return tl.max(tl.max(mask.to(tl.int32), 1), 0)


@triton.jit
def _constants(loc, rates, plane, at, real):
    """Mean, rate and level."""
    mean = tl.load(loc + at, real, 0.0).to(tl.float64)
    return mean, tl.load(rates + at, real, 0.0), tl.load(rates + plane + at, real, MINUS_INF)


@triton.jit
def _inputs(x, known, at, real):
    """Inputs, and which of them there are."""
    if known is not None:
        real = real & tl.load(known + at, real, 0).to(tl.int1)
    return tl.load(x + at, real, 0.0).to(tl.float64), real


@triton.jit
def _term(x, mean, rate, level, there):
    """Return z and t: what forward and backward must do alike."""
    z = (x - mean) * rate
    return z, tl.where(there, tl.fma(-z, z, level), MINUS_INF)


@triton.jit
def _grown(peak, total, t):
    """Running maxima, and sums of 2**t below them, each with one more term."""
    higher = tl.maximum(peak, t)
    terms = tl.exp2((t - higher).to(tl.float32))
    return higher, total * tl.exp2((peak - higher).to(tl.float32)) + terms


@triton.jit
def _together(peaks, totals):
    """The maximum of these maxima, and the sum below it."""
    peak = tl.max(peaks, 0)
    return peak, tl.sum(totals * tl.exp2((peaks - peak).to(tl.float32)), 0).to(tl.float64)


@triton.jit
def revisit(
    x, known, loc, logits, table, score, saved, b0, j0, batch, n_out, n_in, stride,
    BB: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The far scores of a tile, and what backward needs of them."""
    rates, plane = exact(table, n_out, stride), n_out.to(tl.int64) * n_in
    total = totals(saved, batch, n_out, known is not None)
    for i in range(BB * BM):
        row, j = (b0 + i // BM).to(tl.int64), (j0 + i % BM).to(tl.int64)
        at, inside = row * n_out + j, (row < batch) & (j < n_out)
        if (tl.load(total + at, inside, 1.0) > 0.0) == 0:
            value = tl.load(rates + 2 * plane + j)
            nothing = False
            if known is not None:
                peaks = tl.full([BK], LOWEST, tl.float64)
                sums = tl.zeros([BK], tl.float32)
                for start in range(0, n_in, BK):
                    k = start + tl.arange(0, BK)
                    there = tl.load(known + row * n_in + k, k < n_in, 0).to(tl.int1)
                    logit = tl.load(logits + j * n_in + k, there, MINUS_INF).to(tl.float64)
                    peaks, sums = _grown(peaks, sums, logit * LOG2_E)
                peak, kept = _together(peaks, sums)
                nothing = kept == 0.0  # is known: a density of 1
                log_kept = peak * LN_2 + tl.log(tl.where(nothing, 1.0, kept))
                tl.store(saved + batch.to(tl.int64) * n_out + at, log_kept)
                value += tl.load(rates + 2 * plane + n_out + j) - log_kept
            peaks = tl.full([BK], LOWEST, tl.float64)
            sums = tl.zeros([BK], tl.float32)
            for start in range(0, n_in, BK):
                k = start + tl.arange(0, BK)
                mean, rate, level = _constants(loc, rates, plane, j * n_in + k, k < n_in)
                inputs, there = _inputs(x, known, row * n_in + k, k < n_in)
                t = _term(inputs, mean, rate, level, there)[1]
                peaks, sums = _grown(peaks, sums, t)
            peak, far_sum = _together(peaks, sums)
            value += peak * LN_2 + tl.log(far_sum)
            if known is not None:
                value = tl.where(nothing, 0.0, value)
                far_sum = tl.where(nothing, 1.0, far_sum)
            tl.store(score + at, value.to(tl.float32))
            tl.store(total + at, -far_sum.to(tl.float32))
            tl.store(saved + at, peak)


@triton.jit
def _weight(inputs, there, mean, rate, level, grad, saved, total, at):
    """Of one far score z; and its gradient times its components' responsibilities."""
    z, t = _term(inputs, mean, rate, level, there)
    share = -tl.load(grad + at) / tl.load(total + at)
    e = tl.exp2((t - tl.load(saved + at)).to(tl.float32))
    w = (e * share).to(tl.float64)
    # An infinite input has no gradient where its component has no weight.
    return tl.where(w == 0.0, 0.0, z), w


@triton.jit
def far_of_neuron(
    x, known, loc, logits, table, grad, saved, j, k, first, last, batch, n_out, n_in, stride,
    BK: tl.constexpr,
):  # fmt: skip
    """Sums of w, w * z and w * z**2 over one neuron's far scores of some rows.

    And with a mask of the gradient that kept weights take off.
    """
    rates, plane = exact(table, n_out, stride), n_out.to(tl.int64) * n_in
    total = totals(saved, batch, n_out, known is not None)
    log_kept = saved + batch.to(tl.int64) * n_out
    real = k < n_in
    mean, rate, level = _constants(loc, rates, plane, j * n_in + k, real)
    sum0 = tl.zeros([BK], tl.float32)
    sum1 = tl.zeros([BK], tl.float32)
    sum2 = tl.zeros([BK], tl.float32)
    kept = tl.zeros([BK], tl.float32)
    for b0 in range(first, last, MANY):
        b = b0 + tl.arange(0, MANY)
        far = (tl.load(total + b.to(tl.int64) * n_out + j, b < last, 1.0) > 0.0) == 0
        if tl.max(far.to(tl.int32), 0) > 0:
            for row in range(b0, tl.minimum(b0 + MANY, last)):
                at = tl.cast(row, tl.int64) * n_out + j
                if (tl.load(total + at) > 0.0) == 0:
                    inputs, there = _inputs(x, known, tl.cast(row, tl.int64) * n_in + k, real)
                    z, w = _weight(inputs, there, mean, rate, level, grad, saved, total, at)
                    sum0 += w.to(tl.float32)
                    sum1 += (w * z).to(tl.float32)
                    sum2 += (w * z * z).to(tl.float32)
                    if known is not None:
                        logit = tl.load(logits + j * n_in + k, there, MINUS_INF).to(tl.float64)
                        share = tl.exp((logit - tl.load(log_kept + at)).to(tl.float32))
                        kept += share * tl.load(grad + at)
    return sum0, sum1, sum2, kept


@triton.jit
def far_of_input(
    x, known, loc, table, grad, saved, row, k, batch, n_out, n_in, stride, BK: tl.constexpr
):
    """The gradient by one row's inputs of its far scores."""
    rates, plane = exact(table, n_out, stride), n_out.to(tl.int64) * n_in
    total = totals(saved, batch, n_out, known is not None) + row * n_out
    real = k < n_in
    result = tl.zeros([BK], tl.float32)
    for j0 in range(0, n_out, MANY):
        j = j0 + tl.arange(0, MANY)
        far = (tl.load(total + j, j < n_out, 1.0) > 0.0) == 0
        if tl.max(far.to(tl.int32), 0) > 0:
            inputs, there = _inputs(x, known, row * n_in + k, real)
            for one in range(j0, tl.minimum(j0 + MANY, n_out)):
                if (tl.load(total + one) > 0.0) == 0:
                    own = tl.cast(one, tl.int64) * n_in + k
                    mean, rate, level = _constants(loc, rates, plane, own, real)
                    at = row * n_out + one
                    sums = total - row * n_out
                    z, w = _weight(inputs, there, mean, rate, level, grad, saved, sums, at)
                    result += (w * z * rate * SLOPE).to(tl.float32)
    return result
