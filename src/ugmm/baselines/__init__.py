"""What networks of mixture neurons are compared with.

- Estimators, fitted to NumPy arrays by a cross-validation: `BASELINES` has them by name. They
  need no torch before they are fitted.
- Networks, trained in an experiment in the place of mixture neurons: `MLP`, `CNN`,
  `BernoulliMixture`, `NADE`, `PixelReLU`, `Circuit`, `GaussianClasses`, `FastKAN`, `RBFNetwork`,
  `GRUNetwork`, and for regression `MLPRegressor` and `LinearRegressor`. They need torch, and
  load when they are first used.
"""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use
from ugmm.baselines.discriminative import HistBoosting, Logistic
from ugmm.baselines.estimators import Baseline, Estimator, LogJoint
from ugmm.baselines.flows import MAF, NSF
from ugmm.baselines.gaussians import GMM, KDE, LDA, QDA

if TYPE_CHECKING:
    from ugmm.baselines.bernoulli import BernoulliMixture
    from ugmm.baselines.circuits import Circuit
    from ugmm.baselines.cnn import CNN, PixelReLU
    from ugmm.baselines.gaussian_classes import GaussianClasses
    from ugmm.baselines.gru import GRUNetwork
    from ugmm.baselines.mlp import MLP
    from ugmm.baselines.nade import NADE
    from ugmm.baselines.radial import FastKAN, RBFNetwork
    from ugmm.baselines.regressors import LinearRegressor, MLPRegressor

__all__ = [
    "BASELINES",
    "CNN",
    "GMM",
    "KDE",
    "LDA",
    "MAF",
    "MLP",
    "NADE",
    "NSF",
    "QDA",
    "Baseline",
    "BernoulliMixture",
    "Circuit",
    "Estimator",
    "FastKAN",
    "GRUNetwork",
    "GaussianClasses",
    "HistBoosting",
    "LinearRegressor",
    "LogJoint",
    "Logistic",
    "MLPRegressor",
    "PixelReLU",
    "RBFNetwork",
]

BASELINES: dict[str, type[Baseline]] = {
    "lda": LDA,
    "qda": QDA,
    "gmm": GMM,
    "kde": KDE,
    "maf": MAF,
    "nsf": NSF,
    "logistic": Logistic,
    "hist_boosting": HistBoosting,
}

_NETWORKS = {
    "CNN": "cnn",
    "BernoulliMixture": "bernoulli",
    "Circuit": "circuits",
    "FastKAN": "radial",
    "GRUNetwork": "gru",
    "GaussianClasses": "gaussian_classes",
    "LinearRegressor": "regressors",
    "MLP": "mlp",
    "MLPRegressor": "regressors",
    "NADE": "nade",
    "PixelReLU": "cnn",
    "RBFNetwork": "radial",
}

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _NETWORKS)
