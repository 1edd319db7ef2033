"""The compiled loops of the CPU kernel: forward and backward of one layer, in float32.

Notation, for one neuron and input k, in base 2 so that an exponential needs no change of base:

    z_k = (x_k - mean_k) * rate_k        rate  = sqrt(log2(e) / 2) / scale
    t_k = level_k - z_k**2               level = log2(weight / scale), minus its row maximum
    score = offset + log(sum_k 2**t_k)

No t_k exceeds 0, so the usual, *near* row needs no running maximum. A *far* row, whose sum would
lose digits or underflow, or whose input is not finite, is computed in float64 around its true
maximum. Forward saves one number a score, the sum, negative for a far row. Backward computes t_k
again by the same operations, so its 2**t_k / sum repeats forward's to the bit.

The near rows are written with explicit vectors of 16 floats (`_Vector`), in blocks of four rows:
left to itself LLVM stops at 8 floats, checks at every row whether arrays overlap, and needs
fast-math flags, which would round forward and backward differently and hide a NaN. Everything
Numba compiles is in this one file, because its disk cache notices changes to one file only.
"""

# ruff: noqa: ANN001, ANN202, ARG001, ARG005
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types and some of their arguments.

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

__all__ = ["PARALLEL", "SERIAL"]

LANES = 16
ROWS = 4  # rows that share one load of a neuron's constants
TILE = 2**17  # floats in a block of rows: with its gradient 1 MiB, half a usual L2 cache
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
HUGE = np.float32(2.0**60)  # larger inputs and rates would make z infinite
ZERO = np.float32(0.0)
LOWEST_LOG_SCALE = np.float32(-41.0)  # keeps rates below HUGE
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


def _call_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(_WIDE, [_WIDE] * 3)
    name = f"llvm.fma.v{LANES}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


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


def _operation(emit: Any, n_args: int) -> Any:
    """An operation on vectors, which LLVM may neither fuse, split nor reorder."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return emit(builder, *args)

    kind = _vector(*[_vector] * n_args)
    if n_args == 2:
        return intrinsic(lambda _typing, a, b: (kind, codegen))
    return intrinsic(lambda _typing, a, b, c: (kind, codegen))


_add = _operation(lambda builder, a, b: builder.fadd(a, b), 2)
_subtract = _operation(lambda builder, a, b: builder.fsub(a, b), 2)
_multiply = _operation(lambda builder, a, b: builder.fmul(a, b), 2)
_add_product = _operation(lambda builder, a, b, c: _call_fma(builder, b, c, a), 3)
_subtract_product = _operation(
    lambda builder, a, b, c: _call_fma(builder, builder.fneg(b), c, a), 3
)
_larger = _operation(
    lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b), 2
)


def _emit_exp2(builder: Any, t: Any, rest: Any, coefficients: tuple[float, ...]) -> Any:
    cut, magic = _constant(CUT), _constant(MAGIC)
    t = builder.select(builder.fcmp_ordered("<", t, cut), cut, t)
    rounded = builder.fadd(t, magic)
    f = builder.fsub(t, builder.fsub(rounded, magic))
    if rest is not None:
        f = builder.fadd(f, rest)
    p = _constant(coefficients[0])
    for coefficient in coefficients[1:]:
        p = _call_fma(builder, p, f, _constant(coefficient))
    integers = ir.VectorType(ir.IntType(32), LANES)
    bits = builder.shl(builder.bitcast(rounded, integers), ir.Constant(integers, [23] * LANES))
    return builder.fmul(p, builder.bitcast(bits, _WIDE))


@intrinsic
def _exp2(_typing: Any, t: Any) -> Any:
    """2**t for t < 128, to a relative 2e-7; exactly 0 below -127; a NaN stays one."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _emit_exp2(builder, args[0], None, EXP2)

    return _vector(t), codegen


@intrinsic
def _exp2_of_sum(_typing: Any, t: Any, rest: Any) -> Any:
    """2**(t + rest) for a small rest, to a relative 8e-8."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _emit_exp2(builder, args[0], args[1], FINE_EXP2)

    return _vector(t, rest), codegen


_inlined = njit(forceinline=True, error_model="numpy")
_compiled = njit(error_model="numpy")


@_inlined
def _term(x, mean, rate, level):
    """Return z and 2**t of sixteen components: what forward and backward must do alike."""
    z = _multiply(_subtract(x, mean), rate)
    return z, _exp2(_subtract_product(level, z, z))


@_compiled
def _fold(vector, lanes):
    """The sum of the lanes, in a fixed order."""
    _store(lanes, 0, vector)
    half = LANES // 2
    while half > 0:
        for i in range(half):
            lanes[i] += lanes[i + half]
        half //= 2
    return lanes[0]


@_compiled
def _maximum(values, lanes):
    """The largest value. It may skip a NaN: every caller meets the NaN again in its sum."""
    best = _splat(MINUS_INF)
    for k in range(0, values.size, LANES):
        best = _larger(_load(values, k), best)
    _store(lanes, 0, best)
    top = MINUS_INF
    for value in lanes:
        top = value if value > top else top
    return top


@_inlined
def _rate(log_scale):
    """ROOT / scale; the exponent keeps the digits that one float32 product would lose."""
    log_scale = _larger(_splat(LOWEST_LOG_SCALE), log_scale)
    t = _multiply(log_scale, _splat(-LOG2_E_HIGH))
    rest = _subtract_product(_subtract(_splat(ZERO), t), log_scale, _splat(LOG2_E_HIGH))
    rest = _subtract_product(_add(rest, _splat(ROOT_LOW)), log_scale, _splat(LOG2_E_LOW))
    return _multiply(_exp2_of_sum(t, rest), _splat(ROOT_HIGH))


@_compiled
def _prepare(loc, log_scale, logits, mean, rate, level, lanes):
    """Fill one neuron's constants; return the log of its summed weights and its top log ratio."""
    n = loc.size
    for k in range(n):
        mean[k] = loc[k]
        rate[k] = log_scale[k]
        level[k] = logits[k]
    rate[n:] = ZERO
    level[n:] = MINUS_INF
    log2_e = _splat(LOG2_E_HIGH)
    top = _maximum(level, lanes)
    total = _splat(ZERO)
    for k in range(0, level.size, LANES):
        logit = _load(level, k)
        total = _add(total, _exp2(_multiply(_subtract(logit, _splat(top)), log2_e)))
        _store(level, k, _subtract(logit, _load(rate, k)))
        _store(rate, k, _rate(_load(rate, k)))
    log_total = np.float64(top) + math.log(np.float64(_fold(total, lanes)))
    top = _maximum(level, lanes)
    for k in range(0, level.size, LANES):
        _store(level, k, _multiply(_subtract(_load(level, k), _splat(top)), log2_e))
    return log_total, np.float64(top)


@_compiled
def _load_rows(x, start, stop, tile, width, ordinary):
    """Copy rows into a zeroed, padded tile; a row with a huge or non-finite input is left 0."""
    tile[:] = ZERO
    for b in range(stop - start):
        low, high = ZERO, ZERO
        for k in range(x.shape[1]):
            value = x[start + b, k]
            tile[b * width + k] = value
            low += np.float32(not (abs(value) < HUGE))
        ordinary[b] = low + high == ZERO
        if not ordinary[b]:
            tile[b * width : (b + 1) * width] = ZERO


@_compiled
def _near_sums(tile, at, mean, rate, level, lanes, sums):
    """The sums of 2**t of four rows, the first of which begins at `at`."""
    width = mean.size
    total0, total1, total2, total3 = _splat(ZERO), _splat(ZERO), _splat(ZERO), _splat(ZERO)
    for k in range(0, width, LANES):
        m, r, c = _load(mean, k), _load(rate, k), _load(level, k)
        i = at + k
        total0 = _add(total0, _term(_load(tile, i), m, r, c)[1])
        total1 = _add(total1, _term(_load(tile, i + width), m, r, c)[1])
        total2 = _add(total2, _term(_load(tile, i + 2 * width), m, r, c)[1])
        total3 = _add(total3, _term(_load(tile, i + 3 * width), m, r, c)[1])
    sums[0] = _fold(total0, lanes)
    sums[1] = _fold(total1, lanes)
    sums[2] = _fold(total2, lanes)
    sums[3] = _fold(total3, lanes)


@_compiled
def _prepare_far(log_scale, logits, top, rate, level):
    """The constants of `_prepare` in float64."""
    for k in range(log_scale.size):
        log_width = np.float64(log_scale[k])
        rate[k] = ROOT * math.exp(min(-log_width, 300.0))
        level[k] = (np.float64(logits[k]) - log_width - top) * LOG2_E


@_compiled
def _far_terms(x, loc, rate, level, z, t):
    """Fill z and t of one row in float64; return the largest t."""
    shift = -1e300
    for k in range(loc.size):
        z[k] = (np.float64(x[k]) - np.float64(loc[k])) * rate[k]
        t[k] = level[k] - z[k] * z[k]
        shift = t[k] if t[k] > shift else shift
    return shift


@_compiled
def _forward_block(x, loc, log_scale, logits, score, total, task):
    """Scores and sums of the rows task[0]:task[1] and the outputs task[2]:task[3]."""
    n = loc.shape[1]
    width = (n + LANES - 1) // LANES * LANES
    height = min(max(TILE // width // ROWS, 1), (task[1] - task[0] + ROWS - 1) // ROWS) * ROWS
    tile, ordinary = np.empty(height * width, np.float32), np.empty(height, np.bool_)
    mean, rate = np.zeros(width, np.float32), np.empty(width, np.float32)
    level, lanes = np.empty(width, np.float32), np.empty(LANES, np.float32)
    sums, z, t = np.empty(ROWS, np.float32), np.empty(n), np.empty(n)
    far_rate, far_level = np.empty(n), np.empty(n)
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        _load_rows(x, start, stop, tile, width, ordinary)
        for j in range(task[2], task[3]):
            log_total, top = _prepare(loc[j], log_scale[j], logits[j], mean, rate, level, lanes)
            offset = top - log_total - HALF_LOG_2PI
            far = False
            for b in range(start, stop):
                row = b - start
                if row % ROWS == 0:
                    _near_sums(tile, row * width, mean, rate, level, lanes, sums)
                near_sum = sums[row % ROWS]
                if near_sum >= NEAR and ordinary[row]:
                    total[b, j] = near_sum
                    score[b, j] = np.float32(offset) + math.log(near_sum)
                    continue
                if not far:
                    _prepare_far(log_scale[j], logits[j], top, far_rate, far_level)
                    far = True
                shift = _far_terms(x[b], loc[j], far_rate, far_level, z, t)
                far_sum = 0.0
                for k in range(n):
                    far_sum += 2.0 ** (t[k] - shift)
                total[b, j] = -far_sum
                score[b, j] = offset + shift * LN_2 + math.log(far_sum)


@_inlined
def _near_row(x, weight, m, r, c, s0, s1, s2):
    """Add one row's sixteen components to the sums; also return its w * z."""
    z, e = _term(x, m, r, c)
    w = _multiply(e, weight)
    wz = _multiply(w, z)
    return _add(s0, w), _add(s1, wz), _add_product(s2, wz, z), wz


@_compiled
def _near_gradients(tile, dtile, at, mean, rate, level, weights, sums, inputs):
    """Add four rows to the sums of w, w * z and w * z**2, which lie one after another."""
    width = mean.size
    w0, w1, w2, w3 = _splat(weights[0]), _splat(weights[1]), _splat(weights[2]), _splat(weights[3])
    for k in range(0, width, LANES):
        m, r, c = _load(mean, k), _load(rate, k), _load(level, k)
        s0, s1, s2 = _load(sums, k), _load(sums, width + k), _load(sums, 2 * width + k)
        i0 = at + k
        i1, i2, i3 = i0 + width, i0 + 2 * width, i0 + 3 * width
        s0, s1, s2, d0 = _near_row(_load(tile, i0), w0, m, r, c, s0, s1, s2)
        s0, s1, s2, d1 = _near_row(_load(tile, i1), w1, m, r, c, s0, s1, s2)
        s0, s1, s2, d2 = _near_row(_load(tile, i2), w2, m, r, c, s0, s1, s2)
        s0, s1, s2, d3 = _near_row(_load(tile, i3), w3, m, r, c, s0, s1, s2)
        _store(sums, k, s0)
        _store(sums, width + k, s1)
        _store(sums, 2 * width + k, s2)
        if inputs:
            slope = _multiply(r, _splat(SLOPE))
            _store(dtile, i0, _add_product(_load(dtile, i0), d0, slope))
            _store(dtile, i1, _add_product(_load(dtile, i1), d1, slope))
            _store(dtile, i2, _add_product(_load(dtile, i2), d2, slope))
            _store(dtile, i3, _add_product(_load(dtile, i3), d3, slope))


@_compiled
def _far_gradients(z, t, shift, rate, weight, sums, width, dtile, at):
    for k in range(z.size):
        w = 2.0 ** (t[k] - shift) * weight
        if w != 0.0:  # an infinite input has no gradient where its component has no weight
            wz = w * z[k]
            sums[k] += np.float32(w)
            sums[width + k] += np.float32(wz)
            sums[2 * width + k] += np.float32(wz * z[k])
            dtile[at + k] += np.float32(wz * rate[k] * SLOPE)


@_compiled
def _backward_block(grad, total, x, loc, log_scale, logits, dx, sum0, sum1, sum2, inputs, task):
    """The gradient by some rows, from some outputs; and those outputs' sums over the rows.

    The sums are of w, w * z and w * z**2, where w is a component's responsibility times the
    gradient of its score.
    """
    n = loc.shape[1]
    width = (n + LANES - 1) // LANES * LANES
    height = min(max(TILE // width // ROWS, 1), (task[1] - task[0] + ROWS - 1) // ROWS) * ROWS
    tile, ordinary = np.empty(height * width, np.float32), np.empty(height, np.bool_)
    dtile = np.empty(height * width if inputs else 0, np.float32)
    mean, rate = np.zeros(width, np.float32), np.empty(width, np.float32)
    level, lanes = np.empty(width, np.float32), np.empty(LANES, np.float32)
    partial, weights = np.empty(3 * width, np.float32), np.empty(ROWS, np.float32)
    far_rate, far_level, z, t = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for start in range(task[0], task[1], height):
        stop = min(start + height, task[1])
        _load_rows(x, start, stop, tile, width, ordinary)
        dtile[:] = ZERO
        for j in range(task[2], task[3]):
            _, top = _prepare(loc[j], log_scale[j], logits[j], mean, rate, level, lanes)
            partial[:] = ZERO
            far = False
            for b in range(start, stop, ROWS):
                at = (b - start) * width
                for i in range(ROWS):
                    near = b + i < stop and total[b + i, j] > ZERO
                    weights[i] = grad[b + i, j] / total[b + i, j] if near else ZERO
                _near_gradients(tile, dtile, at, mean, rate, level, weights, partial, inputs)
                for i in range(b, min(b + ROWS, stop)):
                    if total[i, j] > ZERO:
                        continue
                    if not far:
                        _prepare_far(log_scale[j], logits[j], top, far_rate, far_level)
                        far = True
                    shift = _far_terms(x[i], loc[j], far_rate, far_level, z, t)
                    weight = -np.float64(grad[i, j]) / np.float64(total[i, j])
                    _far_gradients(
                        z, t, shift, far_rate, weight, partial, width, dtile, at + (i - b) * width
                    )
            if start == task[0]:
                sum0[j] = partial[:n]
                sum1[j] = partial[width : width + n]
                sum2[j] = partial[2 * width : 2 * width + n]
            else:
                sum0[j] += partial[:n]
                sum1[j] += partial[width : width + n]
                sum2[j] += partial[2 * width : 2 * width + n]
        if inputs:
            for b in range(start, stop):
                dx[b] = dtile[(b - start) * width : (b - start) * width + n]


@_compiled
def _finish_outputs(grad, log_scale, logits, sum0, sum1, sum2, first, last):
    """Turn the sums, in place, into the gradients by logits, loc and log_scale."""
    n = logits.shape[1]
    width = (n + LANES - 1) // LANES * LANES
    weight, rate = np.empty(width, np.float32), np.empty(width, np.float32)
    lanes = np.empty(LANES, np.float32)
    log2_e = _splat(LOG2_E_HIGH)
    for j in range(first, last):
        weight[:n] = logits[j]
        weight[n:] = MINUS_INF
        rate[:n] = log_scale[j]
        rate[n:] = ZERO
        top, total = _maximum(weight, lanes), _splat(ZERO)
        for k in range(0, width, LANES):
            e = _exp2(_multiply(_subtract(_load(weight, k), _splat(top)), log2_e))
            total = _add(total, e)
            _store(weight, k, e)
            _store(rate, k, _rate(_load(rate, k)))
        grad_sum = 0.0
        for b in range(grad.shape[0]):
            grad_sum += np.float64(grad[b, j])
        share = np.float32(grad_sum / np.float64(_fold(total, lanes)))
        for k in range(n):
            w = sum0[j, k]
            sum0[j, k] = w - weight[k] * share
            sum1[j, k] *= rate[k] * -SLOPE
            sum2[j, k] = sum2[j, k] * -SLOPE - w


@_compiled
def _backward_task(
    grad, total, x, loc, log_scale, logits, dx, sum0, sum1, sum2, more_dx, more_sums, inputs, task
):
    """Part 0 of the outputs or rows writes into the results, the others into buffers."""
    d = dx if task[4] == 0 else more_dx[task[4] - 1]
    own, m = task[5] == 0, max(task[5] - 1, 0)
    s0 = sum0 if own else more_sums[m, 0]
    s1 = sum1 if own else more_sums[m, 1]
    s2 = sum2 if own else more_sums[m, 2]
    _backward_block(grad, total, x, loc, log_scale, logits, d, s0, s1, s2, inputs, task)


@_compiled
def _finish_chunk(
    grad, log_scale, logits, dx, sum0, sum1, sum2, more_dx, more_sums, params, chunks, i
):
    """Add the buffers up, always in the same order, and finish the parameters' gradients."""
    n_in, n_out = dx.shape[0], logits.shape[0]
    rows = slice(i * n_in // chunks, (i + 1) * n_in // chunks)
    for part in range(more_dx.shape[0]):
        dx[rows] += more_dx[part, rows]
    if params:
        first, last = i * n_out // chunks, (i + 1) * n_out // chunks
        for part in range(more_sums.shape[0]):
            sum0[first:last] += more_sums[part, 0, first:last]
            sum1[first:last] += more_sums[part, 1, first:last]
            sum2[first:last] += more_sums[part, 2, first:last]
        _finish_outputs(grad, log_scale, logits, sum0, sum1, sum2, first, last)


# Two functions each: Numba's disk cache does not tell a parallel version of one function from a
# serial one, and would load either for both.
_serial = njit(nogil=True, error_model="numpy", cache=True)
_parallel = njit(nogil=True, error_model="numpy", cache=True, parallel=True)


@_serial
def _forward(x, loc, log_scale, logits, score, total, tasks):
    for i in range(tasks.shape[0]):
        _forward_block(x, loc, log_scale, logits, score, total, tasks[i])


@_parallel
def _forward_parallel(x, loc, log_scale, logits, score, total, tasks):
    for i in prange(tasks.shape[0]):
        _forward_block(x, loc, log_scale, logits, score, total, tasks[i])


@_serial
def _backward(grad, total, x, loc, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, tasks):
    for i in range(tasks.shape[0]):
        _backward_task(
            grad, total, x, loc, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, tasks[i]
        )


@_parallel
def _backward_parallel(
    grad, total, x, loc, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, tasks
):
    for i in prange(tasks.shape[0]):
        _backward_task(
            grad, total, x, loc, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, tasks[i]
        )


@_serial
def _finish(grad, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, chunks):
    for i in range(chunks):
        _finish_chunk(grad, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, chunks, i)


@_parallel
def _finish_parallel(grad, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, chunks):
    for i in prange(chunks):
        _finish_chunk(grad, log_scale, logits, dx, s0, s1, s2, more_dx, more, need, chunks, i)


SERIAL = (_forward, _backward, _finish)
PARALLEL = (_forward_parallel, _backward_parallel, _finish_parallel)
