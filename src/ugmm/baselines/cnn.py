"""The convolutional network: the baseline of the same widths, windows and strides."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ugmm.nn.convolution.blocks import Pooling, make_pooling
from ugmm.nn.convolution.network import ImageNetwork
from ugmm.nn.dropout import Dropout
from ugmm.nn.norms import BatchNorm2d

__all__ = ["CNN"]


class CNN(ImageNetwork):
    """Convolutions with BatchNorm and ReLU after each, and an affine map that scores the classes.

    Arguments:
        n_features: Number of pixels.
        n_classes: Number of classes.
        channels: Of each stage.
        kernel_sizes: Sides of the stages' windows; half of it is the padding, of zeros.
        strides: Steps between places.
        image_shape: (H, W) or (C, H, W) of the image; by default it is grey and square.
        pooling: What halves the image after each stage: ``"none"``, ``"max"`` or ``"avg"``.
        residual: How many residual blocks follow each stage, a convolution with BatchNorm each.
        dropout: Probability that a feature is dropped on its way to the affine map.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., n_features), output (..., n_classes).

    Raises:
        ValueError: If an argument is out of its range, or pixels and shape do not fit.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        channels: Sequence[int] = (16, 32, 64),
        kernel_sizes: Sequence[int] = (5, 3, 3),
        strides: Sequence[int] = (2, 2, 2),
        image_shape: Sequence[int] | None = None,
        pooling: Pooling = "none",
        residual: int = 0,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(n_features, channels, kernel_sizes, strides, image_shape, pooling)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        blocks: list[nn.Module] = []
        for stage in self.stages:
            blocks += [nn.Conv2d(*stage.geometry, bias=False, **place)]
            blocks += [BatchNorm2d(stage.n_out, **place), nn.ReLU(), make_pooling(pooling)]
            blocks += [_Residual(stage.n_out, stage.side, **place) for _ in range(residual)]
        self.blocks = nn.Sequential(*blocks)
        self.drop = Dropout(dropout)
        self.head = nn.Linear(self.n_left, n_classes, **place)


class _Residual(nn.Module):
    """A convolution that adds to what it is given, before ReLU."""

    def __init__(
        self,
        channels: int,
        side: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, channels, side, padding="same", bias=False, device=device, dtype=dtype
        )
        self.norm = BatchNorm2d(channels, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.norm(self.conv(x))).relu()
