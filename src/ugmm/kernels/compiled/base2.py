"""The constants of scores computed in base 2, where an exponential needs no change of base."""

# ruff: noqa: ANN001, ANN201
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import math

import numpy as np

from ugmm.kernels.compiled.call import inlined
from ugmm.kernels.compiled.vectors import (
    add,
    exp2_of_sum,
    larger,
    multiply,
    splat,
    subtract,
    subtract_product,
)

__all__ = [
    "HALF_LOG_2PI", "LN_2", "LOG2_E", "LOG2_E_HIGH", "LOG2_E_LOW", "LOWEST_LOG_SCALE",
    "MINUS_INF", "ROOT", "ROOT_HIGH", "ROOT_LOW", "SLOPE", "ZERO", "rate_of",
]  # fmt: skip

LN_2 = math.log(2.0)
LOG2_E = 1.0 / LN_2
LOG2_E_HIGH = np.float32(LOG2_E)
LOG2_E_LOW = np.float32(LOG2_E - float(LOG2_E_HIGH))
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
ROOT = math.sqrt(0.5 * LOG2_E)
ROOT_HIGH = np.float32(ROOT)
ROOT_LOW = np.float32(math.log2(ROOT / float(ROOT_HIGH)))
SLOPE = np.float32(-2.0 * LN_2)  # the derivative of a score by x is w * z * rate * SLOPE
ZERO = np.float32(0.0)
MINUS_INF = np.float32(-np.inf)
LOWEST_LOG_SCALE = np.float32(-41.0)  # keeps rates below 2**60


@inlined
def rate_of(log_scale):
    """ROOT / scale; the exponent keeps the digits that one float32 product would lose."""
    log_scale = larger(splat(LOWEST_LOG_SCALE), log_scale)
    t = multiply(log_scale, splat(-LOG2_E_HIGH))
    rest = subtract_product(subtract(splat(ZERO), t), log_scale, splat(LOG2_E_HIGH))
    rest = subtract_product(add(rest, splat(ROOT_LOW)), log_scale, splat(LOG2_E_LOW))
    return multiply(exp2_of_sum(t, rest), splat(ROOT_HIGH))
