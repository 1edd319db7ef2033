"""The compiled loops of the CPU kernel: forward and backward of one layer, in float32.

Notation, for one neuron and input k, in base 2 so that an exponential needs no change of base:

    z_k = (x_k - mean_k) * rate_k        rate  = sqrt(log2(e) / 2) / scale
    t_k = level_k - z_k**2               level = log2(weight / scale), minus its row maximum
    score = offset + log(sum_k 2**t_k)

Forward prepares these constants once a step and hands them to backward. No t_k exceeds 0, so
the usual, *near* row needs no running maximum. A *far* row, whose sum would lose digits or
underflow, or whose input is not finite, is computed in float64 around its true maximum. Forward
saves one number a score, the sum, negative for a far row. Backward computes t_k again by the same
operations, so its 2**t_k / sum repeats forward's to the bit.

The near rows are written with explicit vectors of 16 floats (`_Vector`), in blocks of four rows:
left to itself LLVM stops at 8 floats, checks at every row whether arrays overlap, and needs
fast-math flags, which would round forward and backward differently and hide a NaN. Several rows
go through their exponentials in step, because a processor looks only some hundred instructions
ahead for one that does not wait for another: that is a tenth of the time.
Everything Numba compiles is in this one file, because its disk cache notices changes to one file
only.
"""

# ruff: noqa: ANN001, ANN202, ARG001, ARG005
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types and some of their arguments.

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

__all__ = ["BACKWARD", "FORWARD", "LANES", "ROWS", "SLOTS", "TILE"]

LANES = 16
ROWS = 4  # rows that share one load of a neuron's constants
TILE = 2**17  # floats in a block of rows: with its gradient 1 MiB, half a usual L2 cache
SLOTS = 4  # a neuron's prepared constants: mean, rate, level and weight
LN_2 = math.log(2.0)
LOG2_E = 1.0 / LN_2
LOG2_E_HIGH = np.float32(LOG2_E)
LOG2_E_LOW = np.float32(LOG2_E - float(LOG2_E_HIGH))
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
ROOT = math.sqrt(0.5 * LOG2_E)
ROOT_HIGH = np.float32(ROOT)
ROOT_LOW = np.float32(math.log2(ROOT / float(ROOT_HIGH)))
SLOPE = np.float32(-2.0 * LN_2)  # the derivative of a score by x is w * z * rate * SLOPE
NEAR = np.float32(2.0**-24)  # a smaller sum makes a far row
HUGE = 60  # inputs and rates from 2**HUGE on would make z infinite
OVERFLOW = np.float32(2.0 ** (128 - HUGE))  # times such an input is infinite
ZERO = np.float32(0.0)
LOWEST_LOG_SCALE = np.float32(-41.0)  # keeps rates below 2**HUGE
MINUS_INF = np.float32(-np.inf)

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


_vector = _Vector()
_WIDE = ir.VectorType(ir.FloatType(), LANES)


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _WIDE)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_WIDE, [float(np.float32(value))] * LANES)


def _call(builder: Any, name: str, result: Any, *args: Any, fastmath: tuple[str, ...] = ()) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, args, fastmath=fastmath)


def _call_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, "fma", _WIDE, a, b, c)


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), _WIDE.as_pointer())


@intrinsic
def _load(_typing: Any, array: Any, index: Any) -> Any:
    """Sixteen floats of a flat array, from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, args), align=4)

    return _vector(array, types.intp), codegen


@intrinsic
def _store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def _splat(_typing: Any, value: Any) -> Any:
    """The same number in every lane."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        one = builder.insert_element(
            ir.Constant(_WIDE, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, one, mask)

    return _vector(types.float32), codegen


@intrinsic
def _sum(_typing: Any, vector: Any) -> Any:
    """The sum of the lanes, by halves: an order of its own, but always the same."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        start = ir.Constant(ir.FloatType(), -0.0)
        name = "vector.reduce.fadd"
        return _call(builder, name, ir.FloatType(), start, args[0], fastmath=("reassoc",))

    return types.float32(vector), codegen


@intrinsic
def _largest(_typing: Any, vector: Any) -> Any:
    """The largest lane. It may skip a NaN: every caller meets the NaN again in its sum."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _call(builder, "vector.reduce.fmax", ir.FloatType(), args[0])

    return types.float32(vector), codegen


@intrinsic
def _floats(_typing: Any, address: Any) -> Any:
    """The floats that begin at this address."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(address), codegen


def _operation(emit: Any, n_args: int) -> Any:
    """An operation on vectors, which LLVM may neither fuse, split nor reorder."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return emit(builder, *args)

    kind = _vector(*[_vector] * n_args)
    if n_args == 1:
        return intrinsic(lambda _typing, a: (kind, codegen))
    if n_args == 2:
        return intrinsic(lambda _typing, a, b: (kind, codegen))
    return intrinsic(lambda _typing, a, b, c: (kind, codegen))


def _emit_larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _emit_exp2(
    builder: Any, ts: Any, rest: Any = None, coefficients: tuple[float, ...] = EXP2
) -> tuple[Any, Any]:
    """2**t of several vectors in step: numbers about 1, and powers of two to multiply them by."""
    magic, integers = _constant(MAGIC), ir.VectorType(ir.IntType(32), LANES)
    ts = [_emit_larger(builder, _constant(CUT), t) for t in ts]
    rounded = [builder.fadd(t, magic) for t in ts]
    fs = [builder.fsub(r, magic) for r in rounded]
    fs = [builder.fsub(t, f) for t, f in zip(ts, fs, strict=True)]
    if rest is not None:
        fs = [builder.fadd(f, rest) for f in fs]
    shift = ir.Constant(integers, [23] * LANES)
    powers = [builder.shl(builder.bitcast(r, integers), shift) for r in rounded]
    ps = [_constant(coefficients[0])] * len(ts)
    for coefficient in coefficients[1:]:
        ps = [
            _call_fma(builder, p, f, _constant(coefficient)) for p, f in zip(ps, fs, strict=True)
        ]
    return ps, [builder.bitcast(power, _WIDE) for power in powers]


def _emit_terms(builder: Any, xs: Any, mean: Any, rate: Any, level: Any) -> tuple[Any, Any, Any]:
    """Return z and the two factors of 2**t: what forward and backward must compute alike."""
    zs = [builder.fsub(x, mean) for x in xs]
    zs = [builder.fmul(z, rate) for z in zs]
    ts = [_call_fma(builder, builder.fneg(z), z, level) for z in zs]
    return zs, *_emit_exp2(builder, ts)


_add = _operation(lambda builder, a, b: builder.fadd(a, b), 2)
_subtract = _operation(lambda builder, a, b: builder.fsub(a, b), 2)
_multiply = _operation(lambda builder, a, b: builder.fmul(a, b), 2)
_add_product = _operation(lambda builder, a, b, c: _call_fma(builder, b, c, a), 3)
_subtract_product = _operation(
    lambda builder, a, b, c: _call_fma(builder, builder.fneg(b), c, a), 3
)
_larger = _operation(_emit_larger, 2)


@intrinsic
def _exp2(_typing: Any, t: Any) -> Any:
    """2**t for t < 128, to a relative 2e-7; exactly 0 below -127; a NaN stays one."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        (p,), (power,) = _emit_exp2(builder, args)
        return builder.fmul(p, power)

    return _vector(t), codegen


@intrinsic
def _exp2_of_sum(_typing: Any, t: Any, rest: Any) -> Any:
    """2**(t + rest) for a small rest, to a relative 8e-8."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        (p,), (power,) = _emit_exp2(builder, args[:1], args[1], FINE_EXP2)
        return builder.fmul(p, power)

    return _vector(t, rest), codegen


@intrinsic
def _add_terms(
    _typing: Any, s0: Any, s1: Any, s2: Any, s3: Any, x0: Any, x1: Any, x2: Any, x3: Any,
    mean: Any, rate: Any, level: Any,
) -> Any:  # fmt: skip
    """The sums of four rows with their 2**t added: exact products, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, ps, powers = _emit_terms(builder, args[4:8], *args[8:])
        sums = [_call_fma(builder, *three) for three in zip(ps, powers, args[:4], strict=True)]
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(_vector, 4)(s0, s1, s2, s3, x0, x1, x2, x3, mean, rate, level), codegen


@intrinsic
def _weigh_terms(
    _typing: Any, x0: Any, x1: Any, weight0: Any, weight1: Any, mean: Any, rate: Any, level: Any
) -> Any:
    """Of two rows, z and w = 2**t * weight: z0, z1, w0, w1."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zs, ps, powers = _emit_terms(builder, args[:2], *args[4:])
        powers = [builder.fmul(power, w) for power, w in zip(powers, args[2:4], strict=True)]
        ws = [builder.fmul(p, power) for p, power in zip(ps, powers, strict=True)]
        return context.make_tuple(builder, signature.return_type, zs + ws)

    return types.UniTuple(_vector, 4)(x0, x1, weight0, weight1, mean, rate, level), codegen


_inlined = njit(forceinline=True, error_model="numpy")
_compiled = njit(error_model="numpy")


@_inlined
def _padded(n):
    """How many floats hold n in whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@_inlined
def _rate(log_scale):
    """ROOT / scale; the exponent keeps the digits that one float32 product would lose."""
    log_scale = _larger(_splat(LOWEST_LOG_SCALE), log_scale)
    t = _multiply(log_scale, _splat(-LOG2_E_HIGH))
    rest = _subtract_product(_subtract(_splat(ZERO), t), log_scale, _splat(LOG2_E_HIGH))
    rest = _subtract_product(_add(rest, _splat(ROOT_LOW)), log_scale, _splat(LOG2_E_LOW))
    return _multiply(_exp2_of_sum(t, rest), _splat(ROOT_HIGH))


@_compiled
def _prepare(loc, log_scale, logits, constants):
    """Fill one neuron's constants, one slot after another; return the offset of its scores."""
    n, width = loc.size, constants.size // SLOTS
    mean, rate = constants[:width], constants[width : 2 * width]
    level, weight = constants[2 * width : 3 * width], constants[3 * width :]
    mean[:n] = loc
    rate[:n] = log_scale
    weight[:n] = logits
    mean[n:] = ZERO
    rate[n:] = ZERO
    weight[n:] = MINUS_INF
    log2_e, best = _splat(LOG2_E_HIGH), _splat(MINUS_INF)
    for k in range(0, width, LANES):
        best = _larger(_load(weight, k), best)
    top_logit = _largest(best)
    total, best = _splat(ZERO), _splat(MINUS_INF)
    for k in range(0, width, LANES):
        logit, log_width = _load(weight, k), _load(rate, k)
        e = _exp2(_multiply(_subtract(logit, _splat(top_logit)), log2_e))
        ratio = _subtract(logit, log_width)
        total, best = _add(total, e), _larger(ratio, best)
        _store(rate, k, _rate(log_width))
        _store(level, k, ratio)
        _store(weight, k, e)
    sum_of_weights, top = _sum(total), _largest(best)
    share = _splat(np.float32(1.0) / sum_of_weights)
    for k in range(0, width, LANES):
        _store(level, k, _multiply(_subtract(_load(level, k), _splat(top)), log2_e))
        _store(weight, k, _multiply(_load(weight, k), share))
    log_total = np.float64(top_logit) + math.log(np.float64(sum_of_weights))
    return np.float64(top) - log_total - HALF_LOG_2PI


@_compiled
def _load_rows(x, start, stop, tile, width, ordinary):
    """Copy rows into a padded tile; a row with a huge or non-finite input is left 0."""
    n = x.shape[1]
    whole = n // LANES * LANES
    for b in range(start, stop):
        row, at = x[b], (b - start) * width
        bad = _splat(ZERO)
        for k in range(0, whole, LANES):
            value = _load(row, k)
            _store(tile, at + k, value)
            scaled = _multiply(value, _splat(OVERFLOW))
            bad = _add(bad, _subtract(scaled, scaled))  # inf - inf and NaN - NaN are NaN
        bad_rest = _sum(bad)
        for k in range(whole, n):
            tile[at + k] = row[k]
            bad_rest += row[k] * OVERFLOW - row[k] * OVERFLOW
        tile[at + n : at + width] = ZERO
        ordinary[b - start] = bad_rest == ZERO
        if not ordinary[b - start]:
            tile[at : at + width] = ZERO
    tile[(stop - start) * width :] = ZERO


@_compiled
def _near_sums(tile, at, constants):
    """The sums of 2**t of four rows, the first of which begins at `at`."""
    width = constants.size // SLOTS
    total0, total1, total2, total3 = _splat(ZERO), _splat(ZERO), _splat(ZERO), _splat(ZERO)
    for k in range(0, width, LANES):
        m, r, c = _load(constants, k), _load(constants, k + width), _load(constants, k + 2 * width)
        i = at + k
        x0, x1 = _load(tile, i), _load(tile, i + width)
        x2, x3 = _load(tile, i + 2 * width), _load(tile, i + 3 * width)
        total0, total1, total2, total3 = _add_terms(
            total0, total1, total2, total3, x0, x1, x2, x3, m, r, c
        )
    return _sum(total0), _sum(total1), _sum(total2), _sum(total3)


@_compiled
def _prepare_far(log_scale, logits, rate, level):
    """The constants of `_prepare` in float64; return the top log ratio."""
    top = MINUS_INF
    for k in range(log_scale.size):
        ratio = logits[k] - log_scale[k]
        top = ratio if ratio > top else top
    for k in range(log_scale.size):
        log_width = np.float64(log_scale[k])
        rate[k] = ROOT * math.exp(min(-log_width, 300.0))
        level[k] = (np.float64(logits[k]) - log_width - np.float64(top)) * LOG2_E


@_compiled
def _far_terms(x, loc, rate, level, z, t):
    """Fill z and t of one row in float64; return the largest t."""
    shift = -1e300
    for k in range(loc.size):
        z[k] = (np.float64(x[k]) - np.float64(loc[k])) * rate[k]
        t[k] = level[k] - z[k] * z[k]
        shift = t[k] if t[k] > shift else shift
    return shift


@_inlined
def _height(task, width):
    """Rows in a tile."""
    rows = (task[1] - task[0] + ROWS - 1) // ROWS
    return min(max(TILE // width // ROWS, 1), rows) * ROWS


@_compiled
def _forward_block(x, loc, log_scale, logits, constants, offsets, score, total, task):
    """Scores and sums of the rows task[0]:task[1] and the outputs task[2]:task[3]."""
    n = loc.shape[1]
    width = _padded(n)
    height = _height(task, width)
    tile, ordinary = np.empty(height * width, np.float32), np.empty(height, np.bool_)
    far_rate, far_level, z, t = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        _load_rows(x, start, stop, tile, width, ordinary)
        for j in range(task[2], task[3]):
            for b in range(start, stop, ROWS):
                sums = _near_sums(tile, (b - start) * width, constants[j])
                for i in range(min(ROWS, stop - b)):
                    total[b + i, j] = sums[i]
            far = False
            for b in range(start, stop):
                if total[b, j] >= NEAR and ordinary[b - start]:
                    score[b, j] = np.float32(offsets[j]) + math.log(total[b, j])
                    continue
                if not far:
                    _prepare_far(log_scale[j], logits[j], far_rate, far_level)
                    far = True
                shift = _far_terms(x[b], loc[j], far_rate, far_level, z, t)
                far_sum = 0.0
                for k in range(n):
                    far_sum += 2.0 ** (t[k] - shift)
                total[b, j] = -far_sum
                score[b, j] = offsets[j] + shift * LN_2 + math.log(far_sum)


@_inlined
def _near_pair(x0, x1, weight0, weight1, m, r, c, s0, s1, s2):
    """Add a vector of components of two rows to the sums; also return their w * z."""
    z0, z1, w0, w1 = _weigh_terms(x0, x1, weight0, weight1, m, r, c)
    wz0, wz1 = _multiply(w0, z0), _multiply(w1, z1)
    s0, s1 = _add(_add(s0, w0), w1), _add(_add(s1, wz0), wz1)
    return s0, s1, _add_product(_add_product(s2, wz0, z0), wz1, z1), wz0, wz1


@_compiled
def _near_gradients(tile, dtile, at, constants, weights, sums, inputs):
    """Add four rows to the sums of w, w * z and w * z**2, which lie one after another."""
    width = constants.size // SLOTS
    w0, w1, w2, w3 = _splat(weights[0]), _splat(weights[1]), _splat(weights[2]), _splat(weights[3])
    for k in range(0, width, LANES):
        m, r, c = _load(constants, k), _load(constants, k + width), _load(constants, k + 2 * width)
        s0, s1, s2 = _load(sums, k), _load(sums, width + k), _load(sums, 2 * width + k)
        slope = _multiply(r, _splat(SLOPE))
        i0 = at + k
        i1, i2, i3 = i0 + width, i0 + 2 * width, i0 + 3 * width
        x0, x1 = _load(tile, i0), _load(tile, i1)
        s0, s1, s2, wz0, wz1 = _near_pair(x0, x1, w0, w1, m, r, c, s0, s1, s2)
        if inputs:
            _store(dtile, i0, _add_product(_load(dtile, i0), wz0, slope))
            _store(dtile, i1, _add_product(_load(dtile, i1), wz1, slope))
        x2, x3 = _load(tile, i2), _load(tile, i3)
        s0, s1, s2, wz2, wz3 = _near_pair(x2, x3, w2, w3, m, r, c, s0, s1, s2)
        if inputs:
            _store(dtile, i2, _add_product(_load(dtile, i2), wz2, slope))
            _store(dtile, i3, _add_product(_load(dtile, i3), wz3, slope))
        _store(sums, k, s0)
        _store(sums, width + k, s1)
        _store(sums, 2 * width + k, s2)


@_compiled
def _far_gradients(z, t, shift, rate, weight, sums, width, dtile, at, inputs):
    """Add one far row to the sums and to its input's gradient."""
    for k in range(z.size):
        w = 2.0 ** (t[k] - shift) * weight
        if w != 0.0:  # an infinite input has no gradient where its component has no weight
            wz = w * z[k]
            sums[k] += np.float32(w)
            sums[width + k] += np.float32(wz)
            sums[2 * width + k] += np.float32(wz * z[k])
            if inputs:
                dtile[at + k] += np.float32(wz * rate[k] * SLOPE)


@_compiled
def _backward_block(grad, total, x, loc, log_scale, logits, constants, dx, sums, inputs, task):
    """The gradient by some rows, from some outputs; and those outputs' sums over the rows.

    The sums are of w, w * z and w * z**2, where w is a component's responsibility times the
    gradient of its score.
    """
    n = loc.shape[1]
    width = _padded(n)
    height = _height(task, width)
    tile, ordinary = np.empty(height * width, np.float32), np.empty(height, np.bool_)
    dtile = np.empty(height * width if inputs else 0, np.float32)
    partial, weights = np.empty(3 * width, np.float32), np.empty(ROWS, np.float32)
    far_rate, far_level, z, t = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        _load_rows(x, start, stop, tile, width, ordinary)
        dtile[:] = ZERO
        for j in range(task[2], task[3]):
            partial[:] = ZERO
            far = False
            for b in range(start, stop, ROWS):
                at = (b - start) * width
                for i in range(ROWS):
                    near = b + i < stop and total[b + i, j] > ZERO
                    weights[i] = grad[b + i, j] / total[b + i, j] if near else ZERO
                _near_gradients(tile, dtile, at, constants[j], weights, partial, inputs)
                for i in range(b, min(b + ROWS, stop)):
                    if total[i, j] > ZERO:
                        continue
                    if not far:
                        _prepare_far(log_scale[j], logits[j], far_rate, far_level)
                        far = True
                    shift = _far_terms(x[i], loc[j], far_rate, far_level, z, t)
                    weight = -np.float64(grad[i, j]) / np.float64(total[i, j])
                    row = at + (i - b) * width
                    _far_gradients(
                        z, t, shift, far_rate, weight, partial, width, dtile, row, inputs
                    )
            for part in range(3):
                for k in range(n):
                    value = partial[part * width + k]
                    sums[part][j, k] = value if start == task[0] else sums[part][j, k] + value
        if inputs:
            for b in range(start, stop):
                dx[b] = dtile[(b - start) * width : (b - start) * width + n]


@_compiled
def _add_parts(grad, constants, dx, more_dx, sums, more_sums, chunks, i):
    """Add the parts up, always in the same order, and turn the sums, in place, into gradients.

    The sums of w, w * z and w * z**2 become the gradients by logits, loc and log_scale.
    """
    n_rows, (n_out, n) = dx.shape[0], sums[0].shape
    width = _padded(n)
    for b in range(i * n_rows // chunks, (i + 1) * n_rows // chunks):
        for part in range(more_dx.shape[0]):
            dx[b] += more_dx[part, b]
    first, last = i * n_out // chunks, (i + 1) * n_out // chunks
    grad_sums = np.zeros(last - first)
    for b in range(grad.shape[0]):
        for j in range(first, last):
            grad_sums[j - first] += np.float64(grad[b, j])
    for j in range(first, last):
        by_logits, by_loc, by_log_scale = sums[0][j], sums[1][j], sums[2][j]
        for part in range(more_sums.shape[0]):
            by_logits += more_sums[part, 0, j]
            by_loc += more_sums[part, 1, j]
            by_log_scale += more_sums[part, 2, j]
        grad_sum = np.float32(grad_sums[j - first])
        rate, weight = constants[j, width:], constants[j, 3 * width :]
        for k in range(n):
            w = by_logits[k]
            by_logits[k] = w - weight[k] * grad_sum
            by_loc[k] *= rate[k] * -SLOPE
            by_log_scale[k] = by_log_scale[k] * -SLOPE - w


@_compiled
def _prepare_some(loc, log_scale, logits, constants, offsets, chunks, i):
    n_out = loc.shape[0]
    for j in range(i * n_out // chunks, (i + 1) * n_out // chunks):
        offsets[j] = _prepare(loc[j], log_scale[j], logits[j], constants[j])


@_compiled
def _backward_task(
    grad, total, x, loc, log_scale, logits, constants, dx, sums, more_dx, more_sums, task
):
    """Part 0 of the outputs or rows writes into the results, the others into buffers."""
    inputs = dx.shape[0] > 0
    d = dx if task[4] == 0 else more_dx[task[4] - 1]
    s = sums
    if task[5] > 0:
        part = more_sums[task[5] - 1]
        s = (part[0], part[1], part[2])
    _backward_block(grad, total, x, loc, log_scale, logits, constants, d, s, inputs, task)


@_inlined
def _layer(p, batch, n_out, n_in):
    """The arrays at the addresses of x, loc, log_scale, logits, the constants and the sums."""
    shape = (n_out, n_in)
    return (
        carray(_floats(p[0]), (batch, n_in)),
        carray(_floats(p[1]), shape),
        carray(_floats(p[2]), shape),
        carray(_floats(p[3]), shape),
        carray(_floats(p[4]), (n_out, SLOTS * _padded(n_in))),
        carray(_floats(p[5]), (batch, n_out)),
    )


# What enters and leaves are addresses: Numba unpacks an array a microsecond, and the layer has a
# dozen. Two functions each: Numba's disk cache does not tell a parallel version of one function
# from a serial one, and would load either for both.
_serial = njit(nogil=True, error_model="numpy", cache=True)
_parallel = njit(nogil=True, error_model="numpy", cache=True, parallel=True)


@_serial
def _forward(layer, score, batch, n_out, n_in, tasks):
    x, loc, log_scale, logits, constants, total = _layer(layer, batch, n_out, n_in)
    offsets, score = np.empty(n_out), carray(_floats(score), (batch, n_out))
    chunks = tasks.shape[0]
    for i in range(chunks):
        _prepare_some(loc, log_scale, logits, constants, offsets, chunks, i)
    for i in range(chunks):
        _forward_block(x, loc, log_scale, logits, constants, offsets, score, total, tasks[i])


@_parallel
def _forward_parallel(layer, score, batch, n_out, n_in, tasks):
    x, loc, log_scale, logits, constants, total = _layer(layer, batch, n_out, n_in)
    offsets, scores = np.empty(n_out), carray(_floats(score), (batch, n_out))
    chunks = tasks.shape[0]
    for i in prange(chunks):
        _prepare_some(loc, log_scale, logits, constants, offsets, chunks, i)
    for i in prange(chunks):
        _forward_block(x, loc, log_scale, logits, constants, offsets, scores, total, tasks[i])


@_inlined
def _gradients(p, batch, n_out, n_in, dx_rows, tasks):
    """The arrays at the addresses of grad, dx and the three sums; and buffers for the parts."""
    shape = (n_out, n_in)
    parts_out, parts_rows = tasks[-1, 4], tasks[-1, 5]
    return (
        carray(_floats(p[0]), (batch, n_out)),
        carray(_floats(p[1]), (dx_rows, n_in)),
        (
            carray(_floats(p[2]), shape),
            carray(_floats(p[3]), shape),
            carray(_floats(p[4]), shape),
        ),
        np.empty((parts_out, dx_rows, n_in), np.float32),
        np.empty((parts_rows, 3, n_out, n_in), np.float32),
    )


@_serial
def _backward(layer, gradients, batch, n_out, n_in, dx_rows, tasks):
    x, loc, log_scale, logits, constants, total = _layer(layer, batch, n_out, n_in)
    grad, dx, sums, more_dx, more = _gradients(gradients, batch, n_out, n_in, dx_rows, tasks)
    chunks = tasks.shape[0]
    for i in range(chunks):
        _backward_task(
            grad, total, x, loc, log_scale, logits, constants, dx, sums, more_dx, more, tasks[i]
        )
    for i in range(chunks):
        _add_parts(grad, constants, dx, more_dx, sums, more, chunks, i)


@_parallel
def _backward_parallel(layer, gradients, batch, n_out, n_in, dx_rows, tasks):
    x, loc, log_scale, logits, constants, total = _layer(layer, batch, n_out, n_in)
    grad, dx, sums, more_dx, more = _gradients(gradients, batch, n_out, n_in, dx_rows, tasks)
    chunks = tasks.shape[0]
    for i in prange(chunks):
        _backward_task(
            grad, total, x, loc, log_scale, logits, constants, dx, sums, more_dx, more, tasks[i]
        )
    for i in prange(chunks):
        _add_parts(grad, constants, dx, more_dx, sums, more, chunks, i)


FORWARD, BACKWARD = (_forward, _forward_parallel), (_backward, _backward_parallel)
