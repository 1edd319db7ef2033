"""Convolutional networks: baselines of the same widths and windows; a masked one is a density."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.nn.autoregressive import AutoregressiveDensity
from ugmm.nn.autoregressive.heads.neighbours import places_before
from ugmm.nn.checks import check_positive
from ugmm.nn.convolution.blocks import Pooling, make_pooling
from ugmm.nn.convolution.network import ImageNetwork
from ugmm.nn.dropout import Dropout
from ugmm.nn.labels import rows_of
from ugmm.nn.norms import BatchNorm2d
from ugmm.nn.pixels.network import image_head

__all__ = ["CNN", "PixelReLU"]


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


class PixelReLU(AutoregressiveDensity):
    """A density of grey images: `ugmm.nn.PixelUGMM` with ReLU layers in its neurons' place.

    The first is a masked convolution of the pixels before each, which enter as 2 x - 1, and as 0
    where they are outside of the image; more layers see one pixel's numbers each. A LayerNorm
    follows each. Heads and masks are those of `ugmm.nn.PixelUGMM`.

    Arguments:
        n_features: D, the number of pixels.
        n_classes: Number of classes; 1 where there is no label.
        hidden: Widths of the layers.
        radius: r, how far off, in lines and columns, a neuron sees.
        head: As the others, of `ugmm.nn.PixelUGMM`.
        components: See there.
        levels: See there.
        neighbours: See there.
        image_shape: See there.
        positions: See there.

    Shapes:
        pixels (..., D), labels (...), results (...).

    Raises:
        ValueError: If a size is not positive, pixels and shape do not fit, or there is no such
            head.
    """

    places: Tensor

    def __init__(
        self,
        n_features: int,
        n_classes: int = 1,
        hidden: Sequence[int] = (128,),
        radius: int = 5,
        head: Literal["bernoulli", "levels"] = "bernoulli",
        components: int = 8,
        levels: int = 256,
        neighbours: int = 0,
        image_shape: Sequence[int] | None = None,
        positions: int | None = None,
    ) -> None:
        super().__init__(n_features, n_classes, positions)
        check_positive(radius=radius)
        shape, made = image_head(
            n_features, hidden, head, components, levels, neighbours, image_shape
        )
        self.register_buffer("places", places_before(shape, radius), persistent=False)
        self.start = nn.Parameter(torch.zeros(n_classes, hidden[0]))
        widths = [self.places.shape[1], *hidden]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in hidden)
        self.read_by(made)

    def features(
        self,
        x: Tensor,
        y: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Return what the head reads, (batch, D or P, hidden[-1]); see `PixelUGMM.features`."""
        if order is not None:
            raise ValueError("pixels are in one order only: that of lines")
        places = self.places if chosen is None else self.places[chosen]
        h = F.pad(2 * x - 1, (0, 1))[:, places]
        shift: Tensor | None = rows_of(self.start, y).unsqueeze(1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = layer(h) if shift is None else layer(h) + shift
            h, shift = norm(h.relu()), None
        return h
