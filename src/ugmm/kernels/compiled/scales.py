"""What the loops need of standard deviations, by vectors.

ROOT is that of `base2`.
"""

# ruff: noqa: ANN001, ANN201
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import math

import numpy as np

from ugmm.kernels.compiled.base2 import LOG2_E_HIGH, LOG2_E_LOW, ROOT_HIGH, ROOT_LOW, ZERO
from ugmm.kernels.compiled.call import inlined
from ugmm.kernels.compiled.logarithm import log_scaled
from ugmm.kernels.compiled.vectors import (
    add,
    divide,
    exp2_of_sum,
    larger,
    multiply,
    splat,
    subtract,
    subtract_product,
)

__all__ = ["rate_of", "widths_of"]

LOWEST_LOG_SCALE = np.float32(-41.0)  # keeps rates below 2**60
LOWEST_SCALE = np.float32(math.exp(-41.0))
HIGHEST_LOG_SCALE = np.float32(87.0)  # beyond it e**log_scale is infinite, or soon is
TINY = np.float32(2.0**-126)


@inlined
def rate_of(log_scale):
    """ROOT / scale; the exponent keeps the digits that one float32 product would lose."""
    log_scale = larger(splat(LOWEST_LOG_SCALE), log_scale)
    t = multiply(log_scale, splat(-LOG2_E_HIGH))
    rest = subtract_product(subtract(splat(ZERO), t), log_scale, splat(LOG2_E_HIGH))
    rest = subtract_product(add(rest, splat(ROOT_LOW)), log_scale, splat(LOG2_E_LOW))
    return multiply(exp2_of_sum(t, rest), splat(ROOT_HIGH))


@inlined
def widths_of(log_scale, min_scale):
    """Of scale = min_scale + e**log_scale: its logarithm, ROOT / scale, and e**log_scale / scale.

    The last is the derivative of the first.
    """
    if min_scale == 0.0:
        return log_scale, rate_of(log_scale), splat(np.float32(1.0))
    minus = larger(splat(-HIGHEST_LOG_SCALE), subtract(splat(ZERO), log_scale))
    t = multiply(minus, splat(-LOG2_E_HIGH))
    rest = subtract_product(subtract(splat(ZERO), t), minus, splat(LOG2_E_HIGH))
    learned = exp2_of_sum(t, subtract_product(rest, minus, splat(LOG2_E_LOW)))
    scale = larger(splat(TINY), add(learned, splat(np.float32(min_scale))))
    rate = divide(splat(ROOT_HIGH), larger(splat(LOWEST_SCALE), scale))
    log_width = larger(log_scale, log_scaled(scale, splat(ZERO)))  # the former where e** is cut
    return log_width, rate, divide(learned, scale)
