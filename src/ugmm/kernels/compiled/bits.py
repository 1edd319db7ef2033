"""Products with matrices of zeros and ones, four of whose elements are one step.

A sum over four elements of a factor's column, each there or not, is one of 16; these are
tabulated, and a row's *code* says which it is. So a product takes a quarter of the additions that
one of two general matrices takes multiplications, and reads a bit where that reads a float.
"""

# ruff: noqa: ANN001, ANN202, ARG001
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types and some of their arguments.

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic
from torch import Tensor

from ugmm.kernels.compiled.base2 import ZERO
from ugmm.kernels.compiled.call import c_function, compiled, inlined
from ugmm.kernels.compiled.lanes import load_some, masked_call, store_some
from ugmm.kernels.compiled.threads import ROWS, run, thread_count
from ugmm.kernels.compiled.vectors import (
    LANES,
    WIDE,
    add,
    constant,
    flags,
    floats,
    integers,
    load,
    next_task,
    pointer,
    short_integers,
    splat,
    store,
)

__all__ = ["Bits"]

FOUR = 4  # elements in a code
CODES = 16
PAIR = 2 * LANES  # columns of a factor that share the reading of a code
STRIP = 128  # rows whose sums, and
GROUPS = 8  # codes whose tables, stay in the first-level cache together: one number of 64 bits
WORD = FOUR * GROUPS  # elements in it

_BYTES = ir.VectorType(ir.IntType(8), LANES)


class Bits(NamedTuple):
    """A matrix of zeros and ones, (rows, columns).

    Attributes:
        codes: (rows, ceil(columns / 4), to the next eight), uint8: bit i of code g is column
            4 g + i.
        columns: how many.
    """

    codes: Tensor
    columns: int

    @classmethod
    def of(cls, x: Tensor | None, known: Tensor | None, across: bool = False) -> "Bits":
        """Where x (rows, columns) is 0 and known; without x, where it is known.

        Args:
            x: float32.
            known: bool; None: everywhere. One of both is given.
            across: take the transposed matrix.
        """
        rows, columns = (x if known is None else known).shape
        shape = (columns, rows) if across else (rows, columns)
        codes = torch.empty(shape[0], -(-shape[1] // WORD) * GROUPS, dtype=torch.uint8)
        fields = {} if x is None else {"x": x.contiguous()}
        if known is not None:
            fields["known"] = known.contiguous()
        tasks = min(-(-rows // WORD), thread_count(1, rows, columns))
        sizes = {"batch": rows, "n_in": columns, "across": across}
        run(_passes()[:1], tasks, **fields, **sizes, codes=codes)
        return cls(codes, rows if across else columns)

    def times(self, factor: Tensor) -> Tensor:
        """The product with a float32 factor, (columns, n): (rows, n)."""
        rows, n = self.codes.shape[0], factor.shape[1]
        product = factor.new_empty(rows, n)
        tasks = min(-(-n // PAIR), thread_count(rows, n, self.columns))
        fields = {"codes": self.codes, "factor": factor.contiguous(), "product": product}
        run(_passes()[1:], tasks, **fields, batch=rows, n_in=self.columns, n_out=n)
        return product


@intrinsic
def _zero_bits(_typing: Any, array: Any, index: Any, count: Any) -> Any:
    """Which of 16 floats are 0, as the bits of a number; none from `count` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = pointer(context, builder, signature, args)
        value = masked_call(builder, "load", WIDE, place, args[2], constant(1.0))
        bits = builder.bitcast(builder.fcmp_ordered("==", value, constant(0.0)), ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(array, types.intp, types.intp), codegen


@intrinsic
def _flag_bits(_typing: Any, array: Any, index: Any, count: Any) -> Any:
    """Which of 16 bytes are not 0, as the bits of a number; none from `count` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = pointer(context, builder, signature, args, _BYTES)
        none = ir.Constant(_BYTES, [0] * LANES)
        value = masked_call(builder, "load", _BYTES, place, args[2], none)
        bits = builder.bitcast(builder.icmp_unsigned("!=", value, none), ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(array, types.intp, types.intp), codegen


@intrinsic
def _store_codes(
    _typing: Any, array: Any, index: Any, count: Any, b0: Any, b1: Any, b2: Any, b3: Any
) -> Any:
    """Put the codes of 16 rows, whose four elements are bits of four numbers, into an array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        codes = ir.Constant(_BYTES, [0] * LANES)
        for i, bits in enumerate(args[3:]):
            some = builder.trunc(bits, ir.IntType(LANES))
            lanes = builder.bitcast(some, ir.VectorType(ir.IntType(1), LANES))
            shift = ir.Constant(_BYTES, [i] * LANES)
            codes = builder.or_(codes, builder.shl(builder.zext(lanes, _BYTES), shift))
        place = pointer(context, builder, signature, args, _BYTES)
        masked_call(builder, "store", _BYTES, place, args[2], codes)
        return context.get_dummy_value()

    four = [types.int64] * FOUR
    return types.void(array, types.intp, types.intp, *four), codegen


@intrinsic
def _turn_codes(_typing: Any, lines: Any, at: Any, words: Any, index: Any, stride: Any) -> Any:
    """Put 8 lines of 16 codes as 16 words of 8 into an array of 64-bit numbers, a stride apart."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), GROUPS * LANES)
        lines = builder.load(pointer(context, builder, signature, args, kind), align=1)
        order = [g * LANES + lane for lane in range(LANES) for g in range(GROUPS)]
        numbers = ir.Constant(ir.VectorType(ir.IntType(32), GROUPS * LANES), order)
        turned = builder.shuffle_vector(lines, lines, numbers)
        turned = builder.bitcast(turned, ir.VectorType(ir.IntType(64), LANES))
        target = context.make_array(signature.args[2])(context, builder, args[2])
        for lane in range(LANES):
            at = builder.add(args[3], builder.mul(args[4], ir.Constant(args[4].type, lane)))
            word = builder.extract_element(turned, ir.Constant(ir.IntType(32), lane))
            builder.store(word, builder.gep(target.data, [at]))
        return context.get_dummy_value()

    return types.void(lines, types.intp, words, types.intp, types.intp), codegen


@inlined
def _bits_at(x, known, at, count):
    """The bits of 16 elements; where there are none, 0."""
    bits = np.int64(0xFFFF)
    if x.size > 0:
        bits &= _zero_bits(x, at, count)
    if known.size > 0:
        bits &= _flag_bits(known, at, count)
    return bits if count > 0 else np.int64(0)


@compiled
def _pack_rows(x, known, codes, first, last):
    """The codes of the rows first:last, of which four are one number of 32 bits."""
    rows, width = codes.shape
    n = max(x.size, known.size) // rows
    for b in range(first, last):
        for i in range(width):
            at, k = b * n + i * LANES, i * LANES
            bits = _bits_at(x, known, at, max(0, min(LANES, n - k)))
            bits = (bits | bits << 8) & 0x00FF00FF
            codes[b, i] = (bits | bits << 4) & 0x0F0F0F0F


@compiled
def _pack_across(x, known, words, first, last):
    """The codes of the columns, as far as they are of the rows first:last, many times 32."""
    n, width = words.shape
    rows, flat = max(x.size, known.size) // n, words.reshape(words.size)
    square = GROUPS * LANES
    lines = np.empty((n + LANES - 1) // LANES * square, np.uint8)
    for start in range(first, last, WORD):
        for g in range(GROUPS):
            b = start + FOUR * g
            for k in range(0, n, LANES):
                at, count = b * n + k, min(LANES, n - k)
                b0 = _bits_at(x, known, at, count * (b < rows))
                b1 = _bits_at(x, known, at + n, count * (b + 1 < rows))
                b2 = _bits_at(x, known, at + 2 * n, count * (b + 2 < rows))
                b3 = _bits_at(x, known, at + 3 * n, count * (b + 3 < rows))
                _store_codes(lines, k * GROUPS + g * LANES, LANES, b0, b1, b2, b3)
        for k in range(0, n, LANES):
            if k + LANES <= n:
                _turn_codes(lines, k * GROUPS, flat, k * width + start // WORD, width)
                continue
            for i in range(n - k):
                word = np.int64(0)
                for g in range(GROUPS):
                    word |= np.int64(lines[k * GROUPS + g * LANES + i]) << (8 * g)
                words[k + i, start // WORD] = word


def _pack(address):
    call = carray(address, 1)[0]
    size = call.batch * call.n_in
    x = carray(floats(call.x), size if call.x else 0)
    known = carray(flags(call.known), size if call.known else 0)
    blocks = (call.batch + WORD - 1) // WORD
    i = next_task(address)
    while i < call.n_tasks:
        first = i * blocks // call.n_tasks * WORD
        last = min((i + 1) * blocks // call.n_tasks * WORD, call.batch)
        if call.across:
            words = carray(integers(call.codes), (call.n_in, blocks))
            _pack_across(x, known, words, first, last)
        else:
            shape = (call.batch, (call.n_in + WORD - 1) // WORD * GROUPS // FOUR)
            _pack_rows(x, known, carray(short_integers(call.codes), shape), first, last)
        i = next_task(address)


@compiled
def _tabulate(factor, k, first, table, at):
    """The 16 sums of the elements k to k + 3 of 32 columns."""
    flat, n = factor.reshape(factor.size), factor.shape[1]
    for half in range(0, PAIR, LANES):
        store(table, at + half, splat(ZERO))
        present = min(max(n - first - half, 0), LANES)
        for i in range(FOUR):
            place, count = (k + i) * n + first + half, present * (k + i < factor.shape[0])
            some = load_some(flat, place, count, splat(ZERO))
            for code in range(1 << i):
                value = add(load(table, at + code * PAIR + half), some)
                store(table, at + ((1 << i) + code) * PAIR + half, value)


@inlined
def _place(word, g):
    """Where the sum that a word's code says lies in the table."""
    return (g * CODES + (word >> (8 * g) & (CODES - 1))) * PAIR


@compiled
def _add_tabulated(words, table, first, last, tile):
    """Add what the table says of eight codes to the sums of the rows first:last."""
    for b in range(first, last, ROWS):
        at = (b - first) * PAIR
        w0, w1 = words[b], words[min(b + 1, last - 1)]
        w2, w3 = words[min(b + 2, last - 1)], words[min(b + 3, last - 1)]
        s0, s1, s2, s3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
        r0, r1, r2, r3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
        for g in range(GROUPS):
            i0, i1, i2, i3 = _place(w0, g), _place(w1, g), _place(w2, g), _place(w3, g)
            s0, r0 = add(s0, load(table, i0)), add(r0, load(table, i0 + LANES))
            s1, r1 = add(s1, load(table, i1)), add(r1, load(table, i1 + LANES))
            s2, r2 = add(s2, load(table, i2)), add(r2, load(table, i2 + LANES))
            s3, r3 = add(s3, load(table, i3)), add(r3, load(table, i3 + LANES))
        _add_to(tile, at, s0, r0)
        _add_to(tile, at + PAIR, s1, r1)
        _add_to(tile, at + 2 * PAIR, s2, r2)
        _add_to(tile, at + 3 * PAIR, s3, r3)


@inlined
def _add_to(tile, at, s, r):
    store(tile, at, add(load(tile, at), s))
    store(tile, at + LANES, add(load(tile, at + LANES), r))


def _multiply(address):
    call = carray(address, 1)[0]
    columns, rows, n = (call.n_in + WORD - 1) // WORD, call.batch, call.n_out
    words = carray(integers(call.codes), (rows, columns))
    factor = carray(floats(call.factor), (call.n_in, n))
    product, pairs = carray(floats(call.product), rows * n), (n + PAIR - 1) // PAIR
    table = np.empty(GROUPS * CODES * PAIR, np.float32)
    tile = np.empty(STRIP * PAIR, np.float32)
    i = next_task(address)
    while i < call.n_tasks:
        for pair in range(i * pairs // call.n_tasks, (i + 1) * pairs // call.n_tasks):
            first = pair * PAIR
            for start in range(0, rows, STRIP):
                stop = min(start + STRIP, rows)
                tile[:] = ZERO
                for word in range(columns):
                    for g in range(GROUPS):
                        at = g * CODES * PAIR
                        _tabulate(factor, word * WORD + FOUR * g, first, table, at)
                    _add_tabulated(words[:, word], table, start, stop, tile)
                for b in range(start, stop):
                    at, to = (b - start) * PAIR, b * n + first
                    store_some(product, to, min(LANES, n - first), load(tile, at))
                    store_some(product, to + LANES, n - first - LANES, load(tile, at + LANES))
        i = next_task(address)


@functools.cache
def _passes() -> tuple[Any, Any]:
    """The C functions that pack a matrix and that multiply by one."""
    return c_function(_pack), c_function(_multiply)
