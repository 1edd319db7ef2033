"""Densities of images, pixel by pixel: mixture neurons that look at the pixels before each."""

from ugmm.nn.pixels.masked import MaskedUGMM
from ugmm.nn.pixels.network import PixelUGMM

__all__ = ["MaskedUGMM", "PixelUGMM"]
