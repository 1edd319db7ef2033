"""Convolutions of mixture neurons, and the network made of them."""

from ugmm.nn.convolution.blocks import UGMMResidualBlock2d
from ugmm.nn.convolution.layers import UGMMConv1d, UGMMConv2d
from ugmm.nn.convolution.network import UGMMConvNetwork
from ugmm.nn.convolution.norms import CentredBatchNorm2d
from ugmm.nn.convolution.pooling import LogMeanExpPool2d

__all__ = [
    "CentredBatchNorm2d",
    "LogMeanExpPool2d",
    "UGMMConv1d",
    "UGMMConv2d",
    "UGMMConvNetwork",
    "UGMMResidualBlock2d",
]
