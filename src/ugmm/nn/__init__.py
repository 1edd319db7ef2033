"""Layers and networks of mixture neurons: plain `torch.nn.Module`s.

What they are compared with is `ugmm.baselines`; both keep to the interface of `Classifier`, or of
`Regressor`.
"""

from ugmm.nn.autoregressive import AutoregressiveUGMM
from ugmm.nn.base import Network
from ugmm.nn.circuit import UGMMCircuit
from ugmm.nn.classifier import Classifier, Density, JointScore
from ugmm.nn.evidence import Draws, Evidence, Marginal, Queryable
from ugmm.nn.mixture import UGMM
from ugmm.nn.network import UGMMNetwork
from ugmm.nn.recipe import Recorded
from ugmm.nn.regression import (
    GaussianPredictive,
    MixturePredictive,
    Predictive,
    QuantilePredictive,
    RegressionNetwork,
    Regressor,
)

__all__ = [
    "UGMM",
    "AutoregressiveUGMM",
    "Classifier",
    "Density",
    "Draws",
    "Evidence",
    "GaussianPredictive",
    "JointScore",
    "Marginal",
    "MixturePredictive",
    "Network",
    "Predictive",
    "QuantilePredictive",
    "Queryable",
    "Recorded",
    "RegressionNetwork",
    "Regressor",
    "UGMMCircuit",
    "UGMMNetwork",
]
