"""Convolutional networks, of mixture neurons and ordinary ones; masked ones are densities."""

from dataclasses import dataclass
from typing import Any, Literal

from ugmm.config.choices.declare import choice
from ugmm.config.choices.images import ImageModelConfig
from ugmm.config.choices.models import AutoregressiveModelConfig
from ugmm.errors import UserError
from ugmm.keys import key

__all__ = [
    "CNNConfig",
    "ImageNetworkConfig",
    "PixelConfig",
    "PixelReLUConfig",
    "PixelUGMMConfig",
    "UGMMConvConfig",
]


@dataclass
class ImageNetworkConfig(ImageModelConfig):
    """A network of stages over images; see `ugmm.nn.convolution.network`."""

    channels: list[int] = key([16, 32, 64], low=1, high=10**6)
    kernel_sizes: list[int] = key([5, 3, 3], low=1, high=1000)
    strides: list[int] = key([2, 2, 2], low=1, high=1000)
    residual: int = key(0, low=0, high=1000)  # blocks after each stage

    def check_with(self, config: Any) -> None:
        """Refuse stages of which some have no window or no stride."""
        super().check_with(config)
        if not len(self.channels) == len(self.kernel_sizes) == len(self.strides) > 0:
            raise UserError(
                f"model.channels={self.channels}, model.kernel_sizes={self.kernel_sizes} and "
                f"model.strides={self.strides} must be as many, one for each stage"
            )


@choice("model", "conv", builds="ugmm.nn:UGMMConvNetwork")
class UGMMConvConfig(ImageNetworkConfig):
    """Convolutions of mixture neurons; see `ugmm.nn.UGMMConvNetwork`."""

    pooling: Literal["none", "max", "avg", "logmeanexp"] = "none"
    norm: Literal["none", "layer", "batch", "centred"] = "centred"
    head: Literal["mixture", "gain", "linear"] = "linear"
    # of components, in the first stage or, as a list, in each
    dropout: float | int | list[float | int] = key(0.0, low=0, below=1)
    input_dropout: float = key(0.0, low=0, below=1)
    feature_dropout: float = key(0.0, low=0, below=1)
    padding_mode: Literal["drop", "zeros", "reflect"] = "drop"
    init: Literal["unit", "data"] = "unit"
    widen: float = key(1.0, above=0, high=1000)  # initial scales, times those of init
    min_scale: float = key(0.2, low=0, high=1000)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"


@choice("model", "cnn", builds="ugmm.baselines.cnn:CNN")
class CNNConfig(ImageNetworkConfig):
    """Ordinary convolutions; see `ugmm.baselines.CNN`."""

    pooling: Literal["none", "max", "avg"] = "none"
    dropout: float = key(0.0, low=0, below=1)  # before the head


@dataclass
class PixelConfig(ImageModelConfig, AutoregressiveModelConfig):
    """A masked convolution, and layers that see one pixel each; see `ugmm.nn.PixelUGMM`."""

    hidden: list[int] = key([128], low=1, high=10**6)
    radius: int = key(5, low=1, high=1000)  # lines above a pixel, and columns beside it
    head: Literal["bernoulli", "levels"] = "bernoulli"
    components: int = key(8, low=1, high=10_000)  # of the head levels


@choice("model", "pixel_ugmm", builds="ugmm.nn:PixelUGMM")
class PixelUGMMConfig(PixelConfig):
    """Mixture neurons that look at the pixels before each; see `ugmm.nn.PixelUGMM`."""

    init: Literal["unit", "data"] = key("data", passed=False)
    min_scale: float = key(0.1, low=0, high=1000)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"


@choice("model", "pixel_relu", builds="ugmm.baselines.cnn:PixelReLU")
class PixelReLUConfig(PixelConfig):
    """The same with ReLU layers; see `ugmm.baselines.PixelReLU`."""

    init: Literal["unit", "data"] = key("data", passed=False)
