"""What the cumulative score needs of vectors, beyond `compiled.vectors`."""

# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types and some of their arguments.

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ugmm.kernels.compiled.vectors import LANES, VECTOR, emit_exp2

__all__ = ["any_above", "exp2_pair"]


@intrinsic
def exp2_pair(_typing: Any, t0: Any, t1: Any) -> Any:
    """`exp2` of two vectors in step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        factors = zip(*emit_exp2(builder, args), strict=True)
        results = [builder.fmul(p, power) for p, power in factors]
        return context.make_tuple(builder, signature.return_type, results)

    return types.UniTuple(VECTOR, 2)(t0, t1), codegen


@intrinsic
def any_above(_typing: Any, a: Any, b: Any, limit: Any) -> Any:
    """Whether a lane of `a` or `b` is above the limit's; a NaN is not."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        above = [builder.fcmp_ordered(">", v, args[2]) for v in args[:2]]
        bits = builder.bitcast(builder.or_(*above), ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(a, b, limit), codegen
