"""Layers and networks of mixture neurons: plain `torch.nn.Module`s.

What they are compared with is `ugmm.baselines`; both keep to the interface of `Classifier`.
"""

from ugmm.nn.autoregressive import AutoregressiveUGMM
from ugmm.nn.circuit import UGMMCircuit
from ugmm.nn.classifier import Classifier, Density, JointScore
from ugmm.nn.convolution import CentredBatchNorm2d, LogMeanExpPool2d, UGMMConv1d, UGMMConv2d
from ugmm.nn.evidence import Draws, Evidence, Marginal, Queryable
from ugmm.nn.mixture import UGMM
from ugmm.nn.network import UGMMNetwork
from ugmm.nn.recipe import Recorded

__all__ = [
    "UGMM",
    "AutoregressiveUGMM",
    "CentredBatchNorm2d",
    "Classifier",
    "Density",
    "Draws",
    "Evidence",
    "JointScore",
    "LogMeanExpPool2d",
    "Marginal",
    "Queryable",
    "Recorded",
    "UGMMCircuit",
    "UGMMConv1d",
    "UGMMConv2d",
    "UGMMNetwork",
]
