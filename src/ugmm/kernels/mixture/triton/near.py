"""The Triton kernels of the score: one layer, float32, bf16 or fp16 inputs.

Notation as in `neuron`, in base 2 so that an exponential is one instruction:

    z_k = (x_k - mean_k) * rate_k        rate  = sqrt(log2(e) / 2) / scale
    t_k = level_k - z_k**2               level = log2(weight / scale), minus its row maximum
    score = offset + log(sum_k 2**t_k)

Of inputs that are not known the components are left out, and the log of the *kept* weights' sum,
those of the known inputs, is subtracted. A kernel is compiled for that if it is given a mask.

A score is *near* if its sums are at least 2**-24: float32 then has the digits, and as no t_k
exceeds 0 the sum needs no running maximum. Any other score is *far*, and done again by the code of
`far`. Forward leaves the sum, negative for a far score, and the kept weights' sum.

The near scores decide the speed. On Hopper an SM does 16 exponentials and 128 float32 operations
a clock. Forward takes 1 and 4 per component (5 with a mask), so the exponential unit is its bound.
Backward takes 1 and 9 (11) for all gradients at once, since a program holds the constants of its
components in registers, runs through the rows, and adds its part of the input's gradient to a
buffer of its own; one kernel for the parameters and one for the input would take 2 and 14. What
these buffers hold is added up in a fixed order, so results repeat to the bit as long as the tile
is the same; Triton keeps the tiles it chose on disk. A program is one warp, whose lanes lie along
the inputs: all loads in the loops are coalesced or uniform, and nothing passes through shared
memory.

A kernel is compiled once for all shapes. Rows and neurons have 64-bit offsets; within a tile and
within a row 32 bits suffice.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import triton
import triton.language as tl

from ugmm.kernels.mixture.triton.far import any_of, revisit, totals
from ugmm.kernels.mixture.triton.parameters import (
    INTERPRETED,
    LN_2,
    MINUS_INF,
    PADDING,
    SLOPE,
    SLOTS,
    compiled,
    exact,
    near,
    near_place,
)

__all__ = ["backward", "forward"]

NEAR = tl.constexpr(2.0**-24)  # a smaller sum makes a far score
# Backward clamps inputs, and rates are clamped to 2**60, so that z stays finite: an infinite input
# has no gradient where its component has no responsibility, which it has none of unless its scale
# is above 2**60.
CLAMP = tl.constexpr(2.0**66)
FAR = tl.constexpr(128)
ROWS = tl.constexpr(16)  # that are weighed together


def _tuned(tiles, interpreted, key):
    # An interpreter has nothing to time, and is the faster the larger its tiles are.
    configs = [
        triton.Config({"BB": rows, "BM": outs, "BK": inputs}, num_warps=1)
        for rows, outs, inputs in ([interpreted] if INTERPRETED else tiles)
    ]
    return triton.autotune(configs, key, cache_results=True)


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
    known,
    loc,
    logits,
    table,
    score,
    saved,
    batch,
    n_out,
    n_in,
    stride,
    _bucket,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """The scores of a tile, and its sums."""
    tiles = tl.cdiv(n_out, BM)
    b0 = tl.program_id(0) // tiles * BB
    j0 = tl.program_id(0) % tiles * BM
    rows = tl.minimum(tl.arange(0, BB), batch - 1 - b0)
    outs = tl.minimum(tl.arange(0, BM), n_out - 1 - j0)
    k = tl.arange(0, BK)[None, None, :]
    row = b0.to(tl.int64) * n_in
    constants = near(table) + j0.to(tl.int64) * stride
    x_at = rows[:, None, None] * n_in + k
    at = outs[None, :, None] * stride + near_place(k)
    sums = tl.zeros([BB, BM, BK], tl.float32)
    kept = tl.zeros([BB, BM, BK], tl.float32)
    for start in range(0, n_in, BK):
        there = start + k < n_in
        if known is not None:
            there = there & tl.load(known + row + start + x_at, there, 0).to(tl.int1)
        value = tl.load(x + row + start + x_at, there, 0.0).to(tl.float32)
        mean = tl.load(constants + SLOTS * start + at)
        rate = tl.load(constants + SLOTS * start + at + PADDING)
        level = tl.load(constants + SLOTS * start + at + 2 * PADDING)
        if known is None:
            sums += _term(value, mean, rate, level)[1]
        else:
            one = there.to(tl.float32)
            sums += _term(value, mean, rate, level)[1] * one
            kept += tl.load(constants + SLOTS * start + at + 3 * PADDING) * one
    b = b0 + tl.arange(0, BB)
    j = j0 + tl.arange(0, BM)
    inside = (b < batch)[:, None] & (j < n_out)[None, :]
    at = b.to(tl.int64)[:, None] * n_out + j[None, :]
    plane = batch.to(tl.int64) * n_out
    total = totals(saved, batch, n_out, known is not None)
    tl.store(total + at, tl.sum(sums, 2), inside)
    tl.store(total + plane + at, tl.sum(kept, 2), inside)
    tl.debug_barrier()  # every thread has all sums of the tile: from here on each has its own
    sums = tl.load(total + at, inside, 1.0)
    is_near = sums >= NEAR
    ratio = sums
    nothing = tl.zeros([BB, BM], tl.float64)  # of near scores
    tl.store(saved + at, nothing, inside)
    if known is not None:
        weights = tl.load(total + plane + at, inside, 1.0)
        is_near = is_near & (weights >= NEAR)
        ratio = sums / weights
        tl.store(saved + plane + at, nothing, inside)
    offset = exact(table, n_out, stride) + 2 * n_out.to(tl.int64) * n_in
    offset = tl.load(offset + tl.minimum(j, n_out - 1)).to(tl.float32)[None, :]
    tl.store(score + at, offset + tl.log2(tl.where(is_near, ratio, 1.0)) * LN_2, inside)
    tl.store(total + at, tl.where(is_near, sums, -1.0), inside)
    if any_of((is_near == 0) & inside) > 0:
        tl.debug_barrier()  # which scores are far is read by other threads than wrote it
        revisit(
            x, known, loc, logits, table, score, saved, b0, j0, batch, n_out, n_in, stride,
            BB, BM, FAR,
        )  # fmt: skip


@triton.jit
def _weigh(
    grad, total, weight, notes, first, last, j, batch, n_out, padded,
    MASKED: tl.constexpr, NOTE: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """The gradients over sums of some rows and outputs, 0 where far.

    With a mask those over kept weights' sums too. Of each output notes are taken: the sum of its
    gradients, and whether one of its scores is far.
    """
    plane = batch.to(tl.int64) * n_out
    all_grads = tl.zeros([ROWS, BM], tl.float32)
    some_far = tl.zeros([ROWS, BM], tl.float32)
    for b0 in range(first, last, ROWS):
        b = b0 + tl.arange(0, ROWS)
        inside = (b < last)[:, None] & (j < n_out)[None, :]
        at = b.to(tl.int64)[:, None] * n_out + j[None, :]
        g = tl.load(grad + at, inside, 0.0)
        sums = tl.load(total + at, inside, 1.0)
        is_near = sums > 0.0
        to = weight + b.to(tl.int64)[:, None] * padded + j[None, :]
        tl.store(to, tl.where(is_near, g / sums, 0.0), (b < last)[:, None])
        if MASKED:
            kept = tl.where(is_near, g / tl.load(total + plane + at, inside, 1.0), 0.0)
            tl.store(to + batch.to(tl.int64) * padded, kept, (b < last)[:, None])
        all_grads += g
        some_far = tl.where(is_near, some_far, 1.0)
    if NOTE:
        once = (j < n_out) & (tl.program_id(0) == 0)
        tl.store(notes + j, tl.sum(all_grads, 0), once)
        tl.store(notes + n_out + j, tl.max(some_far, 0), once)


@_tuned(
    [(1, 16, 32), (1, 8, 32), (1, 8, 64)],
    interpreted=(64, 8, 256),
    key=["_bucket", "n_out", "n_in", "NEED_X", "NEED_PARAMETERS"],
)
@compiled
def backward(
    x,
    known,
    table,
    grad,
    saved,
    weight,
    dx,
    sums,
    notes,
    batch,
    n_out,
    n_in,
    stride,
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

    w is a component's responsibility times the gradient of its score. With a mask there is a
    fourth sum, which kept weights take off the gradient by the logits. All programs of a part
    weigh its scores, and write the same numbers: that costs less than a kernel before this one.
    """
    k = tl.program_id(0) * BK + tl.arange(0, BK)
    part_of_outs = tl.program_id(1)
    part_of_rows = tl.program_id(2)
    real = k < n_in
    first = part_of_rows * rows_each
    last = tl.minimum(first + rows_each, batch)
    first_out = part_of_outs * outs_each
    b = tl.arange(0, BB)
    plane = n_out.to(tl.int64) * n_in
    dx += part_of_outs.to(tl.int64) * batch * n_in
    sums += part_of_rows.to(tl.int64) * (3 if known is None else 4) * plane
    total = totals(saved, batch, n_out, known is not None)
    for j0 in range(first_out, tl.minimum(first_out + outs_each, n_out), BM):
        j = j0 + tl.arange(0, BM)
        _weigh(
            grad, total, weight, notes + part_of_rows * 2 * n_out, first, last, j,
            batch, n_out, padded, known is not None, NEED_PARAMETERS, BM,
        )  # fmt: skip
        tl.debug_barrier()  # other threads read the weights than wrote them
        row_of = tl.minimum(j, n_out - 1).to(tl.int64)[None, :, None] * stride
        at = near(table) + row_of + near_place(k)[None, None, :]
        inside = (k < stride // SLOTS)[None, None, :]
        mean = tl.load(at, inside, 0.0)
        rate = tl.load(at + PADDING, inside, 0.0)
        level = tl.load(at + 2 * PADDING, inside, MINUS_INF)
        sum0 = tl.zeros([BM, BK], tl.float32)
        sum1 = tl.zeros([BM, BK], tl.float32)
        sum2 = tl.zeros([BM, BK], tl.float32)
        kept = tl.zeros([BM, BK], tl.float32)
        for b0 in range(first, last, BB):
            row = tl.cast(b0, tl.int64)
            valid = (b0 + b < last)[:, None]
            x_at = row * n_in + b[:, None] * n_in + k[None, :]
            mask = valid & real[None, :]
            there = mask
            if known is not None:
                there = mask & tl.load(known + x_at, mask, 0).to(tl.int1)
            value = tl.load(x + x_at, there, 0.0).to(tl.float32)
            value = tl.minimum(tl.maximum(value, -CLAMP), CLAMP)
            z, e = _term(value[:, None, :], mean, rate, level)
            share_at = weight + row * padded + b[:, None] * padded + j[None, :]
            share = tl.load(share_at, valid, 0.0)
            w = e * share[:, :, None]
            if known is not None:
                one = there.to(tl.float32)[:, None, :]
                w *= one
                if NEED_PARAMETERS:
                    by_kept = tl.load(share_at + batch.to(tl.int64) * padded, valid, 0.0)
                    kept += tl.sum(by_kept[:, :, None] * one, 0)
            wz = w * z
            if NEED_PARAMETERS:
                sum0 += tl.sum(w, 0)
                sum1 += tl.sum(wz, 0)
                sum2 += tl.sum(wz * z, 0)
            if NEED_X:
                before = tl.load(dx + x_at, mask & (j0 > first_out), 0.0)
                tl.store(dx + x_at, before + tl.sum(wz * rate, 1) * SLOPE, mask)
        if NEED_PARAMETERS:
            inside = (j < n_out)[:, None] & real[None, :]
            to = sums + j.to(tl.int64)[:, None] * n_in + k[None, :]
            tl.store(to, sum0, inside)
            tl.store(to + plane, sum1, inside)
            tl.store(to + 2 * plane, sum2, inside)
            if known is not None:
                own = tl.minimum(j, n_out - 1).to(tl.int64)[:, None] * stride
                own = tl.load(
                    near(table) + own + near_place(k)[None, :] + 3 * PADDING, inside, 0.0
                )
                tl.store(to + 3 * plane, kept * own, inside)
        tl.debug_barrier()  # the next outputs add to what these wrote into dx
