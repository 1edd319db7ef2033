"""The Triton kernels of single inputs' candidates, in float32; notation as in `loops`.

Parameters come as columns, one an input, as the cumulative score's kernels have them. `add_others`
runs down the inputs of one row and leaves the sums over later ones, and up again, adding those
over earlier ones; then `score` does all candidates at once.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import triton
import triton.language as tl

from ugmm.kernels.cumulative.triton_kernels import LN_2, LOWEST, grown

__all__ = ["add_others", "score"]

# Sizes are never constants, were they 1, nor decide whether a load is split into vectors.
_sized = triton.jit(
    do_not_specialize=["batch", "n_out", "n_in", "n_values", "wanted", "first", "row_step"]
)


@triton.jit
def _exponent(value, column, plane):
    z = (value - tl.load(column)) * tl.load(column + plane)
    return tl.load(column + 2 * plane) - z * z


@_sized
def add_others(x, columns, others, batch, n_out, n_in, BM: tl.constexpr):
    """Of one row and a tile of outputs, and of each input, the sum over the others: m, then e."""
    b = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BM + tl.arange(0, BM)
    present = j < n_out
    out = tl.minimum(j, n_out - 1)
    plane = n_in.to(tl.int64) * n_out
    half = plane * batch
    m = tl.zeros([BM], tl.float32)
    e = tl.full([BM], LOWEST, tl.float32)
    for back in range(n_in):
        k = tl.cast(n_in - 1 - back, tl.int64)
        at = others + b * plane + k * n_out + j
        tl.store(at, m, present)
        tl.store(at + half, e, present)
        value = tl.load(x + b * n_in + k)
        m, e = grown(m, e, _exponent(value, columns + k * n_out + out, plane))
    tl.debug_barrier()  # what follows reads what may be another thread's
    m = tl.zeros([BM], tl.float32)
    e = tl.full([BM], LOWEST, tl.float32)
    for step in range(n_in):
        k = tl.cast(step, tl.int64)
        at = others + b * plane + k * n_out + j
        m_after = tl.load(at, present, 0.0)
        e_after = tl.load(at + half, present, LOWEST)
        top = tl.maximum(e, e_after)
        tl.store(at, m * tl.exp2(e - top) + m_after * tl.exp2(e_after - top), present)
        tl.store(at + half, top, present)
        value = tl.load(x + b * n_in + k)
        m, e = grown(m, e, _exponent(value, columns + k * n_out + out, plane))


@_sized
def score(
    columns,
    others,
    coordinates,
    values,
    result,
    batch,
    n_out,
    n_in,
    n_values,
    wanted,
    first,
    row_step,
    BG: tl.constexpr,
    BM: tl.constexpr,
):
    """The scores of some candidates of one pair, for a tile of outputs.

    `row_step` is how far apart the values of two rows lie: 0 where all rows have the same.
    """
    n = tl.program_id(0).to(tl.int64)
    pair = n + first
    b, c = pair // wanted, pair % wanted
    k = tl.load(coordinates + c)
    g = tl.program_id(1) * BG + tl.arange(0, BG)
    j = tl.program_id(2) * BM + tl.arange(0, BM)
    inside = (g < n_values)[:, None] & (j < n_out)[None, :]
    out = tl.minimum(j, n_out - 1)[None, :]
    plane = n_in.to(tl.int64) * n_out
    own = values + b * row_step + c * n_values + tl.minimum(g, n_values - 1)
    at = others + b * plane + k * n_out + out
    t = _exponent(tl.load(own)[:, None], columns + k * n_out + out, plane)
    m, e = grown(tl.load(at), tl.load(at + plane * batch), t)
    target = result + (n * n_values + g)[:, None] * n_out + j[None, :]
    tl.store(target, (e + tl.log2(m)) * LN_2, inside)
