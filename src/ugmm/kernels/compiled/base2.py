"""The constants of scores computed in base 2, where an exponential needs no change of base."""

import math

import numpy as np

__all__ = [
    "HALF_LOG_2PI", "LN_2", "LOG2_E", "LOG2_E_HIGH", "LOG2_E_LOW",
    "MINUS_INF", "ROOT", "ROOT_HIGH", "ROOT_LOW", "SLOPE", "ZERO",
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
