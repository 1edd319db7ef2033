"""Queries on trained networks: posterior, marginal, conditional, samples and MPE.

Everything here takes tensors in the model's units; `ugmm.load` returns an object that takes the
user's own rows.
"""

from ugmm.inference.conditionals import Conditional, conditional
from ugmm.inference.marginals import marginal
from ugmm.inference.modes import Mode, mpe
from ugmm.inference.posteriors import Posterior, posterior
from ugmm.inference.samples import Samples, sample
from ugmm.nn.evidence import UNKNOWN, Draws, Evidence, Marginal, Queryable

__all__ = [
    "UNKNOWN",
    "Conditional",
    "Draws",
    "Evidence",
    "Marginal",
    "Mode",
    "Posterior",
    "Queryable",
    "Samples",
    "conditional",
    "marginal",
    "mpe",
    "posterior",
    "sample",
]
