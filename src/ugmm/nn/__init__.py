"""Layers and networks of mixture neurons: plain modules of torch.

What they are compared with is `ugmm.baselines`; both keep to the interface of `Classifier`, or of
`Regressor`.
"""

from ugmm.nn.attention import (
    SelfAttention,
    UGMMEncoderLayer,
    VisionTransformer,
    gaussian_attention,
)
from ugmm.nn.autoregressive import AutoregressiveUGMM
from ugmm.nn.base import Network
from ugmm.nn.circuit import UGMMCircuit
from ugmm.nn.classifier import Classifier, Density, JointScore
from ugmm.nn.convolution import (
    CentredBatchNorm2d,
    LogMeanExpPool2d,
    UGMMConv1d,
    UGMMConv2d,
    UGMMConvNetwork,
    UGMMResidualBlock2d,
)
from ugmm.nn.evidence import Draws, Evidence, Marginal, Queryable
from ugmm.nn.mixture import UGMM
from ugmm.nn.network import UGMMNetwork
from ugmm.nn.pixels import MaskedUGMM, PixelUGMM
from ugmm.nn.recipe import Recorded
from ugmm.nn.recurrence import UGMMRNN, UGMMCell, UGMMRecurrentNetwork
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
    "UGMMRNN",
    "AutoregressiveUGMM",
    "CentredBatchNorm2d",
    "Classifier",
    "Density",
    "Draws",
    "Evidence",
    "GaussianPredictive",
    "JointScore",
    "LogMeanExpPool2d",
    "Marginal",
    "MaskedUGMM",
    "MixturePredictive",
    "Network",
    "PixelUGMM",
    "Predictive",
    "QuantilePredictive",
    "Queryable",
    "Recorded",
    "RegressionNetwork",
    "Regressor",
    "SelfAttention",
    "UGMMCell",
    "UGMMCircuit",
    "UGMMConv1d",
    "UGMMConv2d",
    "UGMMConvNetwork",
    "UGMMEncoderLayer",
    "UGMMNetwork",
    "UGMMRecurrentNetwork",
    "UGMMResidualBlock2d",
    "VisionTransformer",
    "gaussian_attention",
]
