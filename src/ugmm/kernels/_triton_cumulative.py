"""The Triton kernels of the cumulative score, in float32; notation as in `_cumulative`.

Parameters come as columns, one an input, so that lanes along the outputs load them side by side.
Forward goes up the inputs with the sums of a tile of rows and outputs. Backward goes down, and
needs forward's results only: with R_i the gradient of the sum of prefix i, times that sum,

    R_i = g_i + R_i' S_i / S_i'          d/dt_k = R_i 2**t_k / S_i

where i' is the next wanted prefix, and i the first that has input k. Nothing is added to what
another program adds to.
"""

# ruff: noqa: ANN001, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import math

import triton
import triton.language as tl

__all__ = ["backward", "forward"]

LN_2 = tl.constexpr(math.log(2.0))
LOG2_E = tl.constexpr(1.0 / math.log(2.0))
SLOPE = tl.constexpr(-2.0 * math.log(2.0))
LOWEST = tl.constexpr(-3e38)  # the exponent of an empty sum
CLAMP = tl.constexpr(2.0**64)  # an infinite input in backward: z stays finite, and 2**t is 0
INF = tl.constexpr(float("inf"))


# Sizes are never constants, were they 1, nor decide whether a load is split into vectors.
_sized = triton.jit(do_not_specialize=["batch", "n_out", "n_in", "used", "wanted", "rows_each"])


@triton.jit
def _grown(m, e, t):
    """The sum m * 2**e with 2**t added."""
    raised = tl.maximum(e, tl.floor(t))
    return m * tl.exp2(e - raised) + tl.exp2(t - raised), raised


@_sized
def forward(
    x,
    columns,
    start,
    after,
    score,
    batch,
    n_out,
    n_in,
    used,
    wanted,
    BB: tl.constexpr,
    BM: tl.constexpr,
):
    """The scores of a tile of rows and outputs, but the empty prefix's."""
    b = tl.program_id(0).to(tl.int64) * BB + tl.arange(0, BB)
    j = tl.program_id(1) * BM + tl.arange(0, BM)
    row = tl.minimum(b, batch - 1)
    out = tl.minimum(j, n_out - 1)
    inside = (b < batch)[:, None] & (j < n_out)[None, :]
    plane = n_in.to(tl.int64) * n_out
    t = tl.load(start + row[:, None] * n_out + out[None, :]) * LOG2_E
    e = tl.maximum(tl.floor(t), LOWEST)
    m = tl.exp2(t - e)
    for k in range(used):
        at = columns + tl.cast(k, tl.int64) * n_out + out
        z = (tl.load(x + row * n_in + k)[:, None] - tl.load(at)) * tl.load(at + plane)
        m, e = _grown(m, e, tl.load(at + 2 * plane) - z * z)
        i = tl.load(after + k)
        if i >= 0:
            place = score + (row[:, None] * wanted + i) * n_out + out[None, :]
            tl.store(place, (e + tl.log2(m)) * LN_2, inside)


@_sized
def backward(
    x,
    columns,
    start,
    after,
    score,
    grad,
    dx,
    sums,
    dstart,
    batch,
    n_out,
    n_in,
    used,
    wanted,
    rows_each,
    NEED_X: tl.constexpr,
    BB: tl.constexpr,
    BM: tl.constexpr,
):
    """One part's sums of h, h * z and h * z**2 over its rows; its outputs' part of dx; dstart.

    h is the gradient of t.
    """
    part = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1).to(tl.int64)
    j = tl.program_id(1) * BM + tl.arange(0, BM)
    out = tl.minimum(j, n_out - 1)
    present = j < n_out
    plane = n_in.to(tl.int64) * n_out
    sums += part * 3 * plane
    dx += tile * batch * n_in
    first = tl.program_id(0) * rows_each
    end = tl.minimum(first + rows_each, batch)
    for b0 in range(first, end, BB):
        b = (b0 + tl.arange(0, BB)).to(tl.int64)
        row = tl.minimum(b, batch - 1)
        here = b < end
        inside = here[:, None] & present[None, :]
        r = tl.zeros([BB, BM], tl.float32)
        # log2 of the sum that r belongs to; of none infinite, so that r is never looked at.
        last = tl.full([BB, BM], INF, tl.float32)
        for back in range(used):
            k = used - 1 - back
            i = tl.load(after + k)
            if i >= 0:
                place = (row[:, None] * wanted + i) * n_out + out[None, :]
                now = tl.load(score + place) * LOG2_E
                r = tl.load(grad + place, inside, 0.0) + r * tl.exp2(now - last)
                r = tl.where(now == -INF, 0.0, r)
                last = tl.where(now == -INF, INF, now)
            column = tl.cast(k, tl.int64) * n_out + out
            rate = tl.load(columns + column + plane)[None, :]
            value = tl.load(x + row * n_in + k)
            value = tl.where(value > CLAMP, CLAMP, tl.where(value < -CLAMP, -CLAMP, value))
            z = (value[:, None] - tl.load(columns + column)[None, :]) * rate
            h = r * tl.exp2(tl.load(columns + column + 2 * plane)[None, :] - z * z - last)
            hz = h * z
            at = sums + column
            again = present & (b0 > first)  # the part's first rows find nothing to add to
            h0 = tl.load(at, again, 0.0)
            h1 = tl.load(at + plane, again, 0.0)
            h2 = tl.load(at + 2 * plane, again, 0.0)
            tl.store(at, h0 + tl.sum(h, 0), present)
            tl.store(at + plane, h1 + tl.sum(hz, 0), present)
            tl.store(at + 2 * plane, h2 + tl.sum(hz * z, 0), present)
            if NEED_X:
                place_x = dx + row * n_in + k
                tl.store(place_x, tl.sum(tl.where(inside, hz * rate, 0.0), 1) * SLOPE, here)
        tile_at = row[:, None] * n_out + out[None, :]
        t = tl.load(start + tile_at) * LOG2_E
        tl.store(dstart + tile_at, r * tl.exp2(t - last), inside)
        tl.debug_barrier()  # the next rows add to the sums that these stored
