"""What networks of mixture neurons are compared with.

`BASELINES` are the estimators by name, which need no torch before they are fitted; the networks
load when they are first used.
"""

import importlib
from typing import Any

from ugmm.baselines.estimators import Baseline, Estimator, LogJoint
from ugmm.baselines.flows import MAF, NSF
from ugmm.baselines.gaussians import GMM, LDA, QDA
from ugmm.baselines.kde import KDE

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
    "MLP": "mlp",
    "BernoulliMixture": "bernoulli",
    "Circuit": "circuits",
    "GaussianClasses": "gaussian_classes",
}


def __getattr__(name: str) -> Any:
    if name in _NETWORKS:
        return getattr(importlib.import_module(f"ugmm.baselines.{_NETWORKS[name]}"), name)
    raise AttributeError(f"module 'ugmm.baselines' has no attribute {name!r}")
