"""The Triton kernel after the score's backward; notation as in `near`."""

# ruff: noqa: ANN001, ANN201, ANN202, N803
# mypy: ignore-errors
# Triton, not Python, gives the functions of this file their types; it wants constants in capitals.

import triton
import triton.language as tl

from ugmm.kernels.mixture.triton.far import far_of_input, far_of_neuron
from ugmm.kernels.mixture.triton.parameters import (
    PADDING,
    ROOT,
    SLOPE,
    compiled,
    exact,
    near,
    near_place,
)

__all__ = ["finish"]


@compiled
def finish(
    x,
    known,
    loc,
    logits,
    table,
    log_scale,
    grad,
    saved,
    dx,
    sums,
    notes,
    by_x,
    by_loc,
    by_log_scale,
    by_logits,
    batch,
    n_out,
    n_in,
    stride,
    rows_each,
    rows,
    outs,
    of_parameters,
    FLOOR: tl.constexpr,
    BK: tl.constexpr,
):
    """Add up parts and far scores: of a neuron's sums, or of a row's gradients by its inputs.

    The first `of_parameters` programs do the former, for BK components each, and turn the sums
    into gradients.
    """
    chunks = tl.cdiv(n_in, BK)
    program = tl.program_id(0)
    if program < of_parameters:
        k = program % chunks * BK + tl.arange(0, BK)
        _finish_neuron(
            x, known, loc, logits, table, log_scale, grad, saved, sums, notes,
            by_loc, by_log_scale, by_logits, (program // chunks).to(tl.int64), k,
            batch, n_out, n_in, stride, rows_each, rows, FLOOR, BK,
        )  # fmt: skip
    else:
        program -= of_parameters
        row = (program // chunks).to(tl.int64)
        k = program % chunks * BK + tl.arange(0, BK)
        at = row * n_in + k
        total = far_of_input(
            x, known, loc, table, grad, saved, row, k, batch, n_out, n_in, stride, BK
        )
        for part in range(outs):
            before = tl.cast(part, tl.int64) * batch * n_in
            total += tl.load(dx + before + at, k < n_in, 0.0)
        tl.store(by_x + at, total, k < n_in)


@triton.jit
def _finish_neuron(
    x, known, loc, logits, table, log_scale, grad, saved, sums, notes,
    by_loc, by_log_scale, by_logits, j, k,
    batch, n_out, n_in, stride, rows_each, rows, FLOOR: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Some of one neuron's gradients."""
    real = k < n_in
    plane = n_out.to(tl.int64) * n_in
    at = j * n_in + k
    sum0 = tl.zeros([BK], tl.float32)
    sum1 = tl.zeros([BK], tl.float32)
    sum2 = tl.zeros([BK], tl.float32)
    kept = tl.zeros([BK], tl.float32)
    for part in range(rows):
        planes = 3 if known is None else 4
        own = sums + tl.cast(part, tl.int64) * planes * plane + at
        sum0 += tl.load(own, real, 0.0)
        sum1 += tl.load(own + plane, real, 0.0)
        sum2 += tl.load(own + 2 * plane, real, 0.0)
        kept += (
            tl.load(notes + part * 2 * n_out + j)
            if known is None
            else tl.load(own + 3 * plane, real, 0.0)
        )
    if known is None:
        kept *= tl.load(near(table) + j * stride + near_place(k) + 3 * PADDING, real, 0.0)
    for part in range(rows):
        if tl.load(notes + (part * 2 + 1) * n_out + j) > 0.0:
            first = part * rows_each
            last = tl.minimum(first + rows_each, batch)
            far0, far1, far2, far_kept = far_of_neuron(
                x, known, loc, logits, table, grad, saved, j, k, first, last,
                batch, n_out, n_in, stride, BK,
            )  # fmt: skip
            sum0 += far0
            sum1 += far1
            sum2 += far2
            kept += far_kept
    rate = tl.load(exact(table, n_out, stride) + at, real, 0.0)
    by_width = sum2 * -SLOPE - sum0
    if FLOOR:  # the scale is not all learned
        learned = tl.exp(tl.minimum(tl.load(log_scale + at, real, 0.0).to(tl.float64), 700.0))
        by_width *= (learned * rate / ROOT).to(tl.float32)
    tl.store(by_logits + at, sum0 - kept, real)
    tl.store(by_loc + at, (sum1 * (rate * -SLOPE)).to(tl.float32), real)
    tl.store(by_log_scale + at, by_width, real)
