"""What networks of mixture neurons are compared with.

- Estimators, fitted to NumPy arrays by a cross-validation: `BASELINES` has them by name. They
  need no torch before they are fitted.
- Networks, trained in an experiment in the place of mixture neurons: `MLP`, `BernoulliMixture`,
  `Circuit` and `GaussianClasses`. They need torch, and load when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ugmm.baselines.estimators import Baseline, Estimator, LogJoint
from ugmm.baselines.flows import MAF, NSF
from ugmm.baselines.gaussians import GMM, LDA, QDA
from ugmm.baselines.kde import KDE

if TYPE_CHECKING:
    from ugmm.baselines.bernoulli import BernoulliMixture
    from ugmm.baselines.circuits import Circuit
    from ugmm.baselines.gaussian_classes import GaussianClasses
    from ugmm.baselines.mlp import MLP

__all__ = [
    "BASELINES",
    "GMM",
    "KDE",
    "LDA",
    "MAF",
    "MLP",
    "NSF",
    "QDA",
    "Baseline",
    "BernoulliMixture",
    "Circuit",
    "Estimator",
    "GaussianClasses",
    "LogJoint",
]

BASELINES: dict[str, type[Baseline]] = {
    "lda": LDA,
    "qda": QDA,
    "gmm": GMM,
    "kde": KDE,
    "maf": MAF,
    "nsf": NSF,
}

_NETWORKS = {
    "BernoulliMixture": "bernoulli",
    "Circuit": "circuits",
    "GaussianClasses": "gaussian_classes",
    "MLP": "mlp",
}


def __getattr__(name: str) -> Any:
    if name not in _NETWORKS:
        raise AttributeError(f"module 'ugmm.baselines' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ugmm.baselines.{_NETWORKS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
