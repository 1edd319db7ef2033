"""Vectors lane by lane: some lanes only, comparisons, and the sums of several vectors at once."""

# ruff: noqa: ARG001
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types and some of their arguments.

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ugmm.kernels.compiled.vectors import LANES, VECTOR, WIDE, pointer

__all__ = [
    "any_below", "load_some", "masked_call", "prefetch", "store_some", "sum_across",
    "sum_quarters", "turn", "where_above", "where_flagged",
]  # fmt: skip

_INT = ir.IntType(32)
_BITS = ir.VectorType(ir.IntType(1), LANES)


def _first(builder: Any, count: Any) -> Any:
    """A mask of the first `count` lanes."""
    kind = ir.VectorType(_INT, LANES)
    one = builder.insert_element(
        ir.Constant(kind, ir.Undefined), builder.trunc(count, _INT), ir.Constant(_INT, 0)
    )
    counts = builder.shuffle_vector(one, one, ir.Constant(kind, [0] * LANES))
    return builder.icmp_signed("<", ir.Constant(kind, list(range(LANES))), counts)


def masked_call(builder: Any, way: str, kind: Any, place: Any, count: Any, value: Any) -> Any:
    """Load or store the first `count` lanes of a vector of some kind; `value` has the others."""
    align = ir.Constant(_INT, 4 if kind is WIDE else 1)
    mask, result = _first(builder, count), kind if way == "load" else ir.VoidType()
    args = [place, align, mask, value] if way == "load" else [value, place, align, mask]
    element = "f32" if kind is WIDE else "i8"
    name = f"llvm.masked.{way}.v{LANES}{element}.p0v{LANES}{element}"
    function = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


@intrinsic
def load_some(_typing: Any, array: Any, index: Any, count: Any, rest: Any) -> Any:
    """The first `count` lanes from an array, as `load`; the others are those of `rest`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = pointer(context, builder, signature, args)
        return masked_call(builder, "load", WIDE, place, args[2], args[3])

    return VECTOR(array, types.intp, types.intp, rest), codegen


@intrinsic
def store_some(_typing: Any, array: Any, index: Any, count: Any, value: Any) -> Any:
    """Put the first `count` lanes into an array, as `store`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = pointer(context, builder, signature, args)
        masked_call(builder, "store", WIDE, place, args[2], args[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), codegen


@intrinsic
def prefetch(_typing: Any, array: Any, index: Any) -> Any:
    """Ask for the line of memory in which a float lies, which may be past the array's end."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = pointer(context, builder, signature, args)
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        to_read, everywhere, data = (ir.Constant(_INT, n) for n in (0, 3, 1))
        kind = ir.FunctionType(ir.VoidType(), [place.type, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, to_read, everywhere, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def any_below(_typing: Any, a: Any, b: Any, c: Any, d: Any, limit: Any) -> Any:
    """Whether a lane of four vectors is below the limit's, or is a NaN."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        below = ir.Constant(_BITS, [0] * LANES)
        for vector in args[:4]:
            below = builder.or_(below, builder.fcmp_unordered("<", vector, args[4]))
        bits = builder.bitcast(below, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(a, b, c, d, limit), codegen


@intrinsic
def where_above(_typing: Any, a: Any, limit: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes where `a` is above the limit, elsewhere, as at a NaN, `no`."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), *args[2:])

    return VECTOR(a, limit, yes, no), codegen


@intrinsic
def where_flagged(_typing: Any, flags: Any, index: Any, value: Any) -> Any:
    """A vector in the lanes whose flags, bytes from `index` on, are not 0; elsewhere 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), LANES)
        bytes_ = builder.load(pointer(context, builder, signature, args, kind), align=1)
        there = builder.icmp_unsigned("!=", bytes_, ir.Constant(kind, [0] * LANES))
        return builder.select(there, args[2], ir.Constant(WIDE, [0.0] * LANES))

    return VECTOR(flags, types.intp, value), codegen


def _take(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    """Lanes of two vectors, those of y numbered after those of x."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_INT, LANES), lanes))


def _fold(builder: Any, x: Any, y: Any, low: list[int], high: list[int]) -> Any:
    return builder.fadd(_take(builder, x, y, low), _take(builder, x, y, high))


@intrinsic
def sum_quarters(_typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """The sums of the quarters of four vectors: in each quarter those of a, b, c and d."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        quarters, y = range(0, LANES, 4), LANES
        low = [q + i for q in quarters for i in (0, y, 1, y + 1)]
        high = [q + i for q in quarters for i in (2, y + 2, 3, y + 3)]
        ab, cd = (_fold(builder, *pair, low, high) for pair in (args[:2], args[2:]))
        low = [q + i for q in quarters for i in (0, 1, y, y + 1)]
        high = [q + i for q in quarters for i in (2, 3, y + 2, y + 3)]
        return _fold(builder, ab, cd, low, high)

    return VECTOR(a, b, c, d), codegen


@intrinsic
def sum_across(_typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """The sums over the quarters of four vectors, turned about.

    Of four results of `sum_quarters` these are all sums of lanes: the first lanes of the first
    vector are those of the four a, of the second those of the four b, and so on.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        q = [list(range(i, i + 4)) for i in range(0, 2 * LANES, 4)]
        low, high = q[0] + q[4] + q[1] + q[5], q[2] + q[6] + q[3] + q[7]
        ab, cd = (_fold(builder, *pair, low, high) for pair in (args[:2], args[2:]))
        low, high = q[0] + q[1] + q[4] + q[5], q[2] + q[3] + q[6] + q[7]
        sums = _fold(builder, ab, cd, low, high)
        lanes = [4 * list(range(i, LANES, 4)) for i in range(4)]
        rows = [_take(builder, sums, sums, some) for some in lanes]
        return context.make_tuple(builder, signature.return_type, rows)

    return types.UniTuple(VECTOR, 4)(a, b, c, d), codegen


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Sixteen vectors, turned about: first by halves, then the quarters of these, and so on."""
    distance = LANES // 2
    while distance:
        for i in (i for i in range(LANES) if not i & distance):
            a, b = rows[i], rows[i + distance]
            low = [n + LANES - distance if n & distance else n for n in range(LANES)]
            high = [n + LANES if n & distance else n + distance for n in range(LANES)]
            rows[i], rows[i + distance] = _take(builder, a, b, low), _take(builder, a, b, high)
        distance //= 2
    return rows


@intrinsic
def turn(
    _typing: Any, array: Any, at: Any, stride: Any, result: Any, to: Any, result_stride: Any
) -> Any:
    """Copy 16 rows of 16 floats as columns: rows begin at `at` in one array, `to` in the other."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(kind: Any, array: Any, first: Any, stride: Any, i: int) -> Any:
            index = builder.add(first, builder.mul(stride, ir.Constant(stride.type, i)))
            values = context.make_array(kind)(context, builder, array)
            return builder.bitcast(builder.gep(values.data, [index]), WIDE.as_pointer())

        source, target = signature.args[0], signature.args[3]
        rows = [
            builder.load(place(source, args[0], args[1], args[2], i), align=4)
            for i in range(LANES)
        ]
        for i, row in enumerate(_turned(builder, rows)):
            builder.store(row, place(target, args[3], args[4], args[5], i), align=4)
        return context.get_dummy_value()

    numbers = types.intp, types.intp
    return types.void(array, *numbers, result, *numbers), codegen
