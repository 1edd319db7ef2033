"""Logarithms of 16 floats at once."""

# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types and some of their arguments.

from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from ugmm.kernels.compiled.base2 import LN_2
from ugmm.kernels.compiled.vectors import LANES, VECTOR, WIDE, call_fma, constant

__all__ = ["log_scaled"]

# log(1 + f) / f for sqrt(1/2) <= 1 + f < sqrt(2); times f to an absolute 4e-8.
LOG = (
    -0.10102234909798648,
    0.1641998898401043,
    -0.17333465480185622,
    0.19873046554051366,
    -0.2495934382306766,
    0.33336182015425236,
    -0.5000066739563246,
    0.9999998139171736,
)
ROOT_HALF_BITS = 0x3F3504F3  # sqrt(1/2) as a float32


@intrinsic
def log_scaled(_typing: Any, m: Any, e: Any) -> Any:
    """log(m * 2**e) for a normal m and an integer e, to 1e-7; -inf if m is 0; a NaN stays one."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        m, e = args
        kind = ir.VectorType(ir.IntType(32), LANES)
        lowest, shift = (ir.Constant(kind, [n] * LANES) for n in (ROOT_HALF_BITS, 23))
        bits = builder.bitcast(m, kind)
        exponent = builder.ashr(builder.sub(bits, lowest), shift)
        mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, shift)), WIDE)
        f = builder.fsub(mantissa, constant(1.0))
        e = builder.fadd(e, builder.sitofp(exponent, WIDE))
        p = constant(LOG[0])
        for coefficient in LOG[1:]:
            p = call_fma(builder, p, f, constant(coefficient))
        value = call_fma(builder, e, constant(LN_2), builder.fmul(p, f))
        value = builder.fadd(value, builder.fsub(m, m))
        is_zero = builder.fcmp_ordered("==", m, constant(0.0))
        return builder.select(is_zero, constant(-np.inf), value)

    return VECTOR(m, e), codegen
