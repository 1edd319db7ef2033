"""Layers and networks of mixture neurons: plain `torch.nn.Module`s."""

from ugmm.nn.autoregressive import AutoregressiveUGMM
from ugmm.nn.bernoulli import BernoulliMixture
from ugmm.nn.classifier import Classifier, Density, JointScore
from ugmm.nn.mixture import UGMM
from ugmm.nn.network import MLP, UGMMNetwork

__all__ = [
    "MLP",
    "UGMM",
    "AutoregressiveUGMM",
    "BernoulliMixture",
    "Classifier",
    "Density",
    "JointScore",
    "UGMMNetwork",
]
