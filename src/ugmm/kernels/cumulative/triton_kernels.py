"""The Triton kernels of the cumulative score, in float32; notation as in `upward`.

The inputs are cut into chunks, so that a short layer keeps a GPU busy: `carry` runs over them and
leaves the sums before each, whereupon `forward` goes up all chunks at once; `carry_back` and
`backward` are the same downwards. Parameters come as columns, one an input, so that lanes along
the outputs load them side by side. Backward needs forward's results only: with R_i the gradient
of the sum of prefix i, times that sum,

    R_i = g_i + R_i' S_i / S_i'          d/dt_k = R_i 2**t_k / S_i

where i' is the next wanted prefix, and i the first that has input k. Nothing is added to what
another program adds to.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import math

import triton
import triton.language as tl

__all__ = [
    "LN_2", "LOWEST", "backward", "carry", "carry_back", "finish", "forward", "grown", "prepare",
]  # fmt: skip

LN_2 = tl.constexpr(math.log(2.0))
LOG2_E = tl.constexpr(1.0 / math.log(2.0))
HALF_LOG_2PI = tl.constexpr(0.5 * math.log(2.0 * math.pi))
ROOT = tl.constexpr(math.sqrt(0.5 / math.log(2.0)))
SLOPE = tl.constexpr(-2.0 * math.log(2.0))
LOWEST_LOG_SCALE = tl.constexpr(-41.0)  # keeps rates below 2**60
LOWEST = tl.constexpr(-3e38)  # the exponent of an empty sum
CLAMP = tl.constexpr(2.0**64)  # an infinite input in backward: z stays finite, and 2**t is 0
INF = tl.constexpr(float("inf"))


# Sizes are never constants, were they 1, nor decide whether a load is split into vectors.
_sized = triton.jit(
    do_not_specialize=["batch", "n_out", "n_in", "wanted", "rows_each", "chunks", "parts"]
)


@_sized
def prepare(loc, log_scale, logits, columns, n_out, n_in, BM: tl.constexpr, BK: tl.constexpr):
    """Turn a tile of parameters into columns of means, rates and levels, rounded once."""
    k = (tl.program_id(0) * BK + tl.arange(0, BK)).to(tl.int64)[:, None]
    j = (tl.program_id(1) * BM + tl.arange(0, BM))[None, :]
    inside = (k < n_in) & (j < n_out)
    at = j * n_in.to(tl.int64) + k
    log_width = tl.load(log_scale + at, inside, 0.0).to(tl.float64)
    rate = ROOT * tl.exp(-tl.maximum(log_width, LOWEST_LOG_SCALE))
    logit = tl.load(logits + at, inside, 0.0).to(tl.float64)
    level = (logit - log_width - HALF_LOG_2PI) * LOG2_E
    plane = n_in.to(tl.int64) * n_out
    at_column = columns + k * n_out + j
    tl.store(at_column, tl.load(loc + at, inside, 0.0), inside)
    tl.store(at_column + plane, rate.to(tl.float32), inside)
    tl.store(at_column + 2 * plane, level.to(tl.float32), inside)


@triton.jit
def grown(m, e, t):
    """The sum m * 2**e with 2**t added."""
    raised = tl.maximum(e, tl.floor(t))
    return m * tl.exp2(e - raised) + tl.exp2(t - raised), raised


@_sized
def carry(
    x,
    columns,
    start,
    carries,
    batch,
    n_out,
    n_in,
    chunks,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """The sums of one row and a tile of outputs before each chunk of inputs: m, then e."""
    b = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BM + tl.arange(0, BM)
    present = j < n_out
    plane = n_in.to(tl.int64) * n_out
    half = chunks.to(tl.int64) * batch * n_out
    t = tl.load(start + b * n_out + j, present, 0.0) * LOG2_E
    e = tl.maximum(tl.floor(t), LOWEST)
    m = tl.exp2(t - e)
    for chunk in range(chunks):
        at = carries + (tl.cast(chunk, tl.int64) * batch + b) * n_out + j
        tl.store(at, m, present)
        tl.store(at + half, e, present)
        k = chunk * BK + tl.arange(0, BK)
        real = (k < n_in)[:, None] & present[None, :]
        column = columns + k.to(tl.int64)[:, None] * n_out + j[None, :]
        value = tl.load(x + b * n_in + k, k < n_in, 0.0)[:, None]
        z = (value - tl.load(column, real, 0.0)) * tl.load(column + plane, real, 0.0)
        terms = tl.load(column + 2 * plane, real, -INF) - z * z
        raised = tl.maximum(e, tl.floor(tl.max(terms, 0)))
        m = m * tl.exp2(e - raised) + tl.sum(tl.exp2(terms - raised[None, :]), 0)
        e = raised


@_sized
def forward(
    x,
    columns,
    start,
    place,
    carries,
    score,
    batch,
    n_out,
    n_in,
    wanted,
    chunks,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """The scores of the prefixes that end in one chunk, of a tile of rows and outputs."""
    b = tl.program_id(0).to(tl.int64) * BB + tl.arange(0, BB)
    j = tl.program_id(1) * BM + tl.arange(0, BM)
    row = tl.minimum(b, batch - 1)
    out = tl.minimum(j, n_out - 1)
    inside = (b < batch)[:, None] & (j < n_out)[None, :]
    chunk = tl.program_id(2)
    plane = n_in.to(tl.int64) * n_out
    half = chunks.to(tl.int64) * batch * n_out
    carried = carries + (chunk.to(tl.int64) * batch + row[:, None]) * n_out + out[None, :]
    m = tl.load(carried)
    e = tl.load(carried + half)
    if (chunk == 0) & (tl.load(place) >= 0):  # the empty prefix, which can only be the first
        first = tl.load(start + row[:, None] * n_out + out[None, :])
        tl.store(score + row[:, None] * wanted * n_out + out[None, :], first, inside)
    for k in range(chunk * BK, tl.minimum((chunk + 1) * BK, n_in - 1)):
        at = columns + tl.cast(k, tl.int64) * n_out + out
        z = (tl.load(x + row * n_in + k)[:, None] - tl.load(at)) * tl.load(at + plane)
        m, e = grown(m, e, tl.load(at + 2 * plane) - z * z)
        i = tl.load(place + k + 1)
        if i >= 0:
            target = score + (row[:, None] * wanted + i) * n_out + out[None, :]
            tl.store(target, (e + tl.log2(m)) * LN_2, inside)


@_sized
def carry_back(
    place,
    score,
    grad,
    carries,
    batch,
    n_out,
    n_in,
    wanted,
    chunks,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """R of one row and a tile of outputs after each chunk, and log2 of the sum it belongs to.

    Of no prefix, that is infinite, so that R is never looked at.
    """
    b = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BM + tl.arange(0, BM)
    present = j < n_out
    half = chunks.to(tl.int64) * batch * n_out
    r = tl.zeros([BM], tl.float32)
    last = tl.full([BM], INF, tl.float32)
    for back in range(chunks):
        chunk = chunks - 1 - back
        at = carries + (tl.cast(chunk, tl.int64) * batch + b) * n_out + j
        tl.store(at, r, present)
        tl.store(at + half, last, present)
        d = chunk * BK + 1 + tl.arange(0, BK)  # the prefixes that end in this chunk
        i = tl.load(place + d, d < n_in, -1)
        real = (i >= 0)[:, None] & present[None, :]
        source = (b * wanted + i)[:, None] * n_out + j[None, :]
        now = tl.load(score + source, real, -INF) * LOG2_E
        # Sums rise from prefix to prefix, but for rounding; an empty one is not looked at.
        lowest = tl.minimum(tl.min(tl.where(now == -INF, INF, now), 0), last)
        g = tl.load(grad + source, real, 0.0)
        r *= tl.where(last == INF, 0.0, tl.exp2(lowest - last))
        r += tl.sum(tl.where(now == -INF, 0.0, g * tl.exp2(lowest[None, :] - now)), 0)
        last = lowest


@triton.jit
def _kept_finite(value):
    return tl.where(value > CLAMP, CLAMP, tl.where(value < -CLAMP, -CLAMP, value))


@triton.jit
def _by_start(r, last, start, place, grad, row, out, n_out, wanted):
    """The gradient by start, from R of the first wanted prefix but the empty one."""
    t = tl.load(start) * LOG2_E
    by_start = r * tl.exp2(t - last)
    if tl.load(place) >= 0:  # the empty prefix is wanted
        direct = tl.load(grad + row[:, None] * wanted * n_out + out[None, :])
        by_start += tl.where(t == -INF, 0.0, direct)
    return by_start


@triton.jit
def _joined(r, last, now, g):
    """R of a wanted prefix, whose gradient is g, from that of the next; and log2 of its sum."""
    r = g + r * tl.exp2(now - last)
    return tl.where(now == -INF, 0.0, r), tl.where(now == -INF, INF, now)


@triton.jit
def _add_sums(at, plane, h, hz, z, again, present):
    """Add some rows to the sums of h, h * z and h * z**2 of one input.

    A part's first rows find nothing to add to: they begin these sums.
    """
    h0 = tl.load(at, again, 0.0)
    h1 = tl.load(at + plane, again, 0.0)
    h2 = tl.load(at + 2 * plane, again, 0.0)
    tl.store(at, h0 + tl.sum(h, 0), present)
    tl.store(at + plane, h1 + tl.sum(hz, 0), present)
    tl.store(at + 2 * plane, h2 + tl.sum(hz * z, 0), present)


@_sized
def backward(
    x,
    columns,
    start,
    place,
    score,
    grad,
    carries,
    dx,
    sums,
    dstart,
    batch,
    n_out,
    n_in,
    wanted,
    chunks,
    rows_each,
    NEED_X: tl.constexpr,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """One chunk's sums of h, h * z and h * z**2 over a part of the rows; its part of dx; dstart.

    h is the gradient of t.
    """
    part = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1).to(tl.int64)
    chunk = tl.program_id(2)
    j = tl.program_id(1) * BM + tl.arange(0, BM)
    out = tl.minimum(j, n_out - 1)
    present = j < n_out
    plane = n_in.to(tl.int64) * n_out
    half = chunks.to(tl.int64) * batch * n_out
    sums += part * 3 * plane
    dx += tile * batch * n_in
    first = tl.program_id(0) * rows_each
    end = tl.minimum(first + rows_each, batch)
    top = tl.minimum((chunk + 1) * BK, n_in - 1)
    for b0 in range(first, end, BB):
        b = (b0 + tl.arange(0, BB)).to(tl.int64)
        row = tl.minimum(b, batch - 1)
        here = b < end
        inside = here[:, None] & present[None, :]
        tile_at = row[:, None] * n_out + out[None, :]
        carried = carries + chunk.to(tl.int64) * batch * n_out + tile_at
        r = tl.load(carried, inside, 0.0)
        last = tl.load(carried + half, inside, INF)
        for back in range(top - chunk * BK):
            k = top - 1 - back
            i = tl.load(place + k + 1)
            if i >= 0:
                source = (row[:, None] * wanted + i) * n_out + out[None, :]
                now = tl.load(score + source) * LOG2_E
                r, last = _joined(r, last, now, tl.load(grad + source, inside, 0.0))
            column = tl.cast(k, tl.int64) * n_out + out
            rate = tl.load(columns + column + plane)[None, :]
            value = _kept_finite(tl.load(x + row * n_in + k))
            z = (value[:, None] - tl.load(columns + column)[None, :]) * rate
            h = r * tl.exp2(tl.load(columns + column + 2 * plane)[None, :] - z * z - last)
            hz = h * z
            _add_sums(sums + column, plane, h, hz, z, present & (b0 > first), present)
            if NEED_X:
                place_x = dx + row * n_in + k
                tl.store(place_x, tl.sum(tl.where(inside, hz * rate, 0.0), 1) * SLOPE, here)
        if chunk == 0:
            by_start = _by_start(r, last, start + tile_at, place, grad, row, out, n_out, wanted)
            tl.store(dstart + tile_at, by_start, inside)
        tl.debug_barrier()  # the next rows add to the sums that these stored


@_sized
def finish(
    sums,
    columns,
    by_loc,
    by_log_scale,
    by_logits,
    n_out,
    n_in,
    parts,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """Add up a tile's sums, part by part, and turn them into the parameters' gradients."""
    k = (tl.program_id(0) * BK + tl.arange(0, BK)).to(tl.int64)[:, None]
    j = (tl.program_id(1) * BM + tl.arange(0, BM))[None, :]
    inside = (k < n_in) & (j < n_out)
    used = (k < n_in - 1) & (j < n_out)  # the last input belongs to no prefix
    plane = n_in.to(tl.int64) * n_out
    at = k * n_out + j
    sum0 = tl.zeros([BK, BM], tl.float32)
    sum1 = tl.zeros([BK, BM], tl.float32)
    sum2 = tl.zeros([BK, BM], tl.float32)
    for part in range(parts):
        source = sums + tl.cast(part, tl.int64) * 3 * plane + at
        sum0 += tl.load(source, used, 0.0)
        sum1 += tl.load(source + plane, used, 0.0)
        sum2 += tl.load(source + 2 * plane, used, 0.0)
    rate = tl.load(columns + plane + at, inside, 0.0)
    target = j * n_in.to(tl.int64) + k
    tl.store(by_logits + target, sum0, inside)
    tl.store(by_loc + target, sum1 * rate * -SLOPE, inside)
    tl.store(by_log_scale + target, sum2 * -SLOPE - sum0, inside)
