"""Vectors of 16 floats for Numba's compiler: explicit, unfused where it matters, in step.

Left to itself LLVM stops at 8 floats, checks at every row whether arrays overlap, and needs
fast-math flags, which would round forward and backward differently and hide a NaN. Several vectors
go through their exponentials in step, because a processor looks only some hundred instructions
ahead for one that does not wait for another: that is a tenth of the time.
"""

# ruff: noqa: ARG001, ARG005
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types and some of their arguments.

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16

# 2**f for |f| <= 1/2 to a relative 2e-7, and exactly 1 at 0. MAGIC rounds to an integer and
# leaves it, biased, in the low bits. Below CUT the power of two is exactly 0.
EXP2 = (0.0013264727, 0.009671513, 0.055507336, 0.24022242, 0.693147, 1.0)
FINE_EXP2 = (
    0.00015345810970757157,
    0.0013399930903688073,
    0.009618489071726799,
    0.05550328642129898,
    0.24022646248340607,
    0.6931471824645996,
    1.0,
)
MAGIC = 1.5 * 2.0**23 + 127.0
CUT = -127.0


class _Vector(types.Type):
    """Sixteen floats in registers."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector{LANES}")


VECTOR = _Vector()
WIDE = ir.VectorType(ir.FloatType(), LANES)


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, WIDE)


def constant(value: float) -> ir.Constant:
    """The same number in every lane, known when it is compiled."""
    return ir.Constant(WIDE, [float(np.float32(value))] * LANES)


def _call(builder: Any, name: str, result: Any, *args: Any, fastmath: tuple[str, ...] = ()) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, args, fastmath=fastmath)


def call_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """A * b + c, rounded once."""
    return _call(builder, "fma", WIDE, a, b, c)


def pointer(context: Any, builder: Any, signature: Any, args: Any, kind: Any = WIDE) -> Any:
    """Where sixteen floats, or a vector of another kind, of a flat array lie, from an index on."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), kind.as_pointer())


@intrinsic
def load(_typing: Any, array: Any, index: Any) -> Any:
    """Sixteen floats of a flat array, from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(pointer(context, builder, signature, args), align=4)

    return VECTOR(array, types.intp), codegen


@intrinsic
def store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Put sixteen floats into a flat array, from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], pointer(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def splat(_typing: Any, value: Any) -> Any:
    """The same number in every lane."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        one = builder.insert_element(
            ir.Constant(WIDE, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, one, mask)

    return VECTOR(types.float32), codegen


@intrinsic
def sum_lanes(_typing: Any, vector: Any) -> Any:
    """The sum of the lanes, by halves: an order of its own, but always the same."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        start = ir.Constant(ir.FloatType(), -0.0)
        name = "vector.reduce.fadd"
        return _call(builder, name, ir.FloatType(), start, args[0], fastmath=("reassoc",))

    return types.float32(vector), codegen


@intrinsic
def largest(_typing: Any, vector: Any) -> Any:
    """The largest lane. It may skip a NaN: every caller meets the NaN again in its sum."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _call(builder, "vector.reduce.fmax", ir.FloatType(), args[0])

    return types.float32(vector), codegen


def _pointer_to(kind: Any) -> Any:
    """An operation that turns an address into a pointer to numbers of this kind."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind).as_pointer())

    return intrinsic(lambda _typing, address: (types.CPointer(kind)(address), codegen))


floats = _pointer_to(types.float32)
doubles = _pointer_to(types.float64)
integers = _pointer_to(types.int64)
short_integers = _pointer_to(types.int32)
shorts = _pointer_to(types.int16)
flags = _pointer_to(types.uint8)


@intrinsic
def next_task(_typing: Any, call: Any) -> Any:
    """The next task's number: count a call's counter, its first field, up by one atomic step."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        count = builder.bitcast(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", count, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(call), codegen


def _operation(emit: Any, n_args: int) -> Any:
    """An operation on vectors, which LLVM may neither fuse, split nor reorder."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return emit(builder, *args)

    kind = VECTOR(*[VECTOR] * n_args)
    if n_args == 1:
        return intrinsic(lambda _typing, a: (kind, codegen))
    if n_args == 2:
        return intrinsic(lambda _typing, a, b: (kind, codegen))
    return intrinsic(lambda _typing, a, b, c: (kind, codegen))


def _emit_larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def emit_exp2(
    builder: Any, ts: Any, rest: Any = None, coefficients: tuple[float, ...] = EXP2
) -> tuple[Any, Any]:
    """2**t of several vectors in step: numbers about 1, and powers of two to multiply them by."""
    magic, integers = constant(MAGIC), ir.VectorType(ir.IntType(32), LANES)
    ts = [_emit_larger(builder, constant(CUT), t) for t in ts]
    rounded = [builder.fadd(t, magic) for t in ts]
    fs = [builder.fsub(r, magic) for r in rounded]
    fs = [builder.fsub(t, f) for t, f in zip(ts, fs, strict=True)]
    if rest is not None:
        fs = [builder.fadd(f, rest) for f in fs]
    shift = ir.Constant(integers, [23] * LANES)
    powers = [builder.shl(builder.bitcast(r, integers), shift) for r in rounded]
    ps = [constant(coefficients[0])] * len(ts)
    for coefficient in coefficients[1:]:
        ps = [call_fma(builder, p, f, constant(coefficient)) for p, f in zip(ps, fs, strict=True)]
    return ps, [builder.bitcast(power, WIDE) for power in powers]


def _emit_terms(builder: Any, xs: Any, mean: Any, rate: Any, level: Any) -> tuple[Any, Any, Any]:
    """Return z and the two factors of 2**t: what forward and backward must compute alike."""
    zs = [builder.fsub(x, mean) for x in xs]
    zs = [builder.fmul(z, rate) for z in zs]
    ts = [call_fma(builder, builder.fneg(z), z, level) for z in zs]
    return zs, *emit_exp2(builder, ts)


add = _operation(lambda builder, a, b: builder.fadd(a, b), 2)
subtract = _operation(lambda builder, a, b: builder.fsub(a, b), 2)
multiply = _operation(lambda builder, a, b: builder.fmul(a, b), 2)
add_product = _operation(lambda builder, a, b, c: call_fma(builder, b, c, a), 3)
subtract_product = _operation(lambda builder, a, b, c: call_fma(builder, builder.fneg(b), c, a), 3)
divide = _operation(lambda builder, a, b: builder.fdiv(a, b), 2)
larger = _operation(_emit_larger, 2)
nearest = _operation(lambda builder, a: _call(builder, "rint", WIDE, a), 1)
root = _operation(lambda builder, a: _call(builder, "sqrt", WIDE, a), 1)


@intrinsic
def exp2(_typing: Any, t: Any) -> Any:
    """2**t for t < 128, to a relative 2e-7; exactly 0 below -127; a NaN stays one."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        (p,), (power,) = emit_exp2(builder, args)
        return builder.fmul(p, power)

    return VECTOR(t), codegen


@intrinsic
def exp2_of_sum(_typing: Any, t: Any, rest: Any) -> Any:
    """2**(t + rest) for a small rest, to a relative 8e-8."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        (p,), (power,) = emit_exp2(builder, args[:1], args[1], FINE_EXP2)
        return builder.fmul(p, power)

    return VECTOR(t, rest), codegen


@intrinsic
def add_terms(
    _typing: Any, s0: Any, s1: Any, s2: Any, s3: Any, x0: Any, x1: Any, x2: Any, x3: Any,
    mean: Any, rate: Any, level: Any,
) -> Any:  # fmt: skip
    """The sums of four rows with their 2**t added: exact products, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, ps, powers = _emit_terms(builder, args[4:8], *args[8:])
        sums = [call_fma(builder, *three) for three in zip(ps, powers, args[:4], strict=True)]
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(VECTOR, 4)(s0, s1, s2, s3, x0, x1, x2, x3, mean, rate, level), codegen


@intrinsic
def add_powers(
    _typing: Any, s0: Any, s1: Any, s2: Any, s3: Any, t0: Any, t1: Any, t2: Any, t3: Any
) -> Any:
    """Four sums with 2**t added, as `add_terms` does."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ps, powers = emit_exp2(builder, args[4:])
        sums = [call_fma(builder, *three) for three in zip(ps, powers, args[:4], strict=True)]
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(VECTOR, 4)(s0, s1, s2, s3, t0, t1, t2, t3), codegen


@intrinsic
def weigh_terms(
    _typing: Any, x0: Any, x1: Any, weight0: Any, weight1: Any, mean: Any, rate: Any, level: Any
) -> Any:
    """Of two rows, z and w = 2**t * weight: z0, z1, w0, w1."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zs, ps, powers = _emit_terms(builder, args[:2], *args[4:])
        powers = [builder.fmul(power, w) for power, w in zip(powers, args[2:4], strict=True)]
        ws = [builder.fmul(p, power) for p, power in zip(ps, powers, strict=True)]
        return context.make_tuple(builder, signature.return_type, zs + ws)

    return types.UniTuple(VECTOR, 4)(x0, x1, weight0, weight1, mean, rate, level), codegen
