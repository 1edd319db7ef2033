"""The far rows of a neuron on a CPU, in float64 around their true maximum.

Notation as in `neuron`.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import math

import numpy as np

from ugmm.kernels.compiled.base2 import HALF_LOG_2PI, LN_2, LOG2_E, MINUS_INF, ROOT, SLOPE, ZERO
from ugmm.kernels.compiled.call import compiled, inlined
from ugmm.kernels.mixture.neuron import SLOTS, WEIGHT

__all__ = [
    "NEAR", "add_far_rows", "finish_scores", "score_far_rows", "subtract_far_kept",
    "subtract_kept", "subtract_near_kept",
]  # fmt: skip

NEAR = np.float32(2.0**-24)  # a smaller sum, of components or of kept weights, makes a far row


@compiled
def _log_width(log_scale, min_scale):
    if min_scale == 0.0:
        return np.float64(log_scale)
    return math.log(min_scale + math.exp(np.float64(log_scale)))


@compiled
def _prepare_far(log_scale, logits, min_scale, rate, level):
    """The constants of `neuron` in float64; return the top log ratio and the weights' log-sum."""
    top = np.float64(MINUS_INF)
    for k in range(log_scale.size):
        log_width = _log_width(log_scale[k], min_scale)
        rate[k] = ROOT * math.exp(min(-log_width, 300.0))
        level[k] = np.float64(logits[k]) - log_width
        top = level[k] if level[k] > top else top
    for k in range(log_scale.size):
        level[k] = (level[k] - top) * LOG2_E
    return top, _log_sum(logits, np.empty(0, np.uint8))


@compiled
def _log_sum(logits, known):
    """The log-sum of e**logits over the known inputs, or over all where `known` is empty."""
    top = np.float64(MINUS_INF)
    for k in range(logits.size):
        if (known.size == 0 or known[k]) and logits[k] > top:
            top = np.float64(logits[k])
    if top == MINUS_INF and known.size > 0:
        return top
    total = 0.0
    for k in range(logits.size):
        if known.size == 0 or known[k]:
            total += math.exp(np.float64(logits[k]) - top)
    return top + math.log(total)


@compiled
def _far_terms(x, known, loc, rate, level, z, t):
    """Fill z and t of one row in float64; return the largest t."""
    shift = -1e300
    for k in range(loc.size):
        if known.size > 0 and not known[k]:
            z[k], t[k] = 0.0, MINUS_INF
            continue
        z[k] = (np.float64(x[k]) - np.float64(loc[k])) * rate[k]
        t[k] = level[k] - z[k] * z[k]
        shift = t[k] if t[k] > shift else shift
    return shift


@inlined
def _is_near(total, kept, ordinary, b, j):
    return total[b, j] >= NEAR and ordinary[b] and (kept.size == 0 or kept[b, j] >= NEAR)


@compiled
def finish_scores(
    x, known, total, kept, score, ordinary, loc, log_scale, logits, min_scale, offset, j, far
):
    """Turn one neuron's sums of near rows into scores; compute its far rows.

    `far` (4, inputs) is room for a neuron's far constants and a row's terms.
    """
    any_far = False
    for b in range(x.shape[0]):
        if not _is_near(total, kept, ordinary, b, j):
            any_far = True
        elif kept.size == 0:
            score[b, j] = np.float32(offset) + math.log(total[b, j])
        else:
            score[b, j] = np.float32(offset) + math.log(total[b, j] / kept[b, j])
    if any_far:
        rows = (x, known, total, kept, score, ordinary)
        score_far_rows(*rows, loc, log_scale, logits, min_scale, j, far)


@compiled
def score_far_rows(
    x, known, total, kept, score, ordinary, loc, log_scale, logits, min_scale, j, far
):
    """Compute one neuron's far rows, as `finish_scores`."""
    rate, level, z, t = far[0], far[1], far[2], far[3]
    prepared, top, log_weights, known_here = False, 0.0, 0.0, np.empty(0, np.uint8)
    for b in range(x.shape[0]):
        if _is_near(total, kept, ordinary, b, j):
            continue
        if not prepared:
            top, log_weights = _prepare_far(log_scale, logits, min_scale, rate, level)
            prepared = True
        if kept.size > 0:
            known_here = known[b]
            log_weights = _log_sum(logits, known_here)
            if log_weights == MINUS_INF:  # nothing is known: a density of 1
                total[b, j], score[b, j] = -1.0, ZERO
                continue
        shift = _far_terms(x[b], known_here, loc, rate, level, z, t)
        far_sum = 0.0
        for k in range(x.shape[1]):
            far_sum += 2.0 ** (t[k] - shift)
        total[b, j] = -far_sum
        score[b, j] = top + shift * LN_2 + math.log(far_sum) - HALF_LOG_2PI - log_weights


@compiled
def add_far_rows(
    x, known, total, grad, loc, log_scale, logits, min_scale, j, far, sums, dtile, inputs
):
    """Add one neuron's far rows to its sums and to their inputs' gradients."""
    rate, level, z, t = far[0], far[1], far[2], far[3]
    width = sums.size // 3
    prepared = False
    known_here = np.empty(0, np.uint8)
    for b in range(x.shape[0]):
        if total[b, j] > ZERO:
            continue
        if not prepared:
            _prepare_far(log_scale, logits, min_scale, rate, level)
            prepared = True
        if known.size > 0:
            known_here = known[b]
        shift = _far_terms(x[b], known_here, loc, rate, level, z, t)
        weight = -np.float64(grad[b, j]) / np.float64(total[b, j])
        for k in range(x.shape[1]):
            w = 2.0 ** (t[k] - shift) * weight
            if w != 0.0:  # an infinite input has no gradient where its component has no weight
                wz = w * z[k]
                sums[k] += np.float32(w)
                sums[width + k] += np.float32(wz)
                sums[2 * width + k] += np.float32(wz * z[k])
                if inputs:
                    dtile[b * width + k] += np.float32(wz * rate[k] * SLOPE)


@compiled
def subtract_kept(by_logits, constants, logits, grad, total, known, by_kept, j):
    """Take off a neuron's gradient by its logits what the kept weights' sums take off.

    `by_kept` holds, of each input, the near rows' gradients divided by those sums, added up.
    """
    subtract_near_kept(by_logits, constants, by_kept, j)
    for b in range(grad.shape[0]):
        if not total[b, j] > ZERO:
            subtract_far_kept(by_logits, logits, grad[b, j], known[b])


@compiled
def subtract_near_kept(by_logits, constants, by_kept, j):
    """The near rows' part of `subtract_kept`."""
    weight = constants[WEIGHT * (constants.size // SLOTS) :]
    for k in range(by_logits.size):
        by_logits[k] -= weight[k] * by_kept[k, j]


@compiled
def subtract_far_kept(by_logits, logits, grad, known):
    """A far row's part of `subtract_kept`."""
    log_weights = _log_sum(logits, known)
    if log_weights != MINUS_INF:
        for k in range(by_logits.size):
            if known[k]:
                share = math.exp(np.float64(logits[k]) - log_weights)
                by_logits[k] -= np.float32(share * np.float64(grad))
