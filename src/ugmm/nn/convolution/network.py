"""Convolutional networks that take images as rows."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.checks import check_positive, per_layer
from ugmm.nn.classifier import Classifier
from ugmm.nn.convolution.blocks import Pooling, UGMMResidualBlock2d, make_pooling
from ugmm.nn.convolution.geometry import Windows
from ugmm.nn.convolution.layers import PaddingMode, UGMMConv2d
from ugmm.nn.convolution.norms import ImageNorm, make_image_norm
from ugmm.nn.dropout import Dropout
from ugmm.nn.heads import Head, make_head
from ugmm.nn.images import as_images, find_image_shape

__all__ = ["ImageNetwork", "Stage", "UGMMConvNetwork"]


class Stage(NamedTuple):
    """A convolution of a network: its channels, and its windows, padded by half of their side."""

    n_in: int
    n_out: int
    side: int
    stride: int

    @property
    def geometry(self) -> tuple[int, int, int, int, int]:
        """The first arguments of a layer."""
        return *self, self.side // 2


class ImageNetwork(Classifier):
    """Convolutions over images, and a head that scores classes by what is left.

    Each stage is a convolution and what follows it, then a pooling, then residual blocks.

    Arguments:
        n_features: Number of pixels.
        channels: Of each stage.
        kernel_sizes: Sides of the stages' windows; half of it is the padding.
        strides: Of the stages' convolutions.
        image_shape: (H, W) or (C, H, W) of the image; by default it is grey and square.
        pooling: What halves the image after each stage.

    Attributes:
        stages: What the convolutions are.
        n_left: How many numbers are left of an image.
        blocks: The stages' modules.
        drop: What these numbers go through on their way to the head.
        head: Makes class scores of them.

    Shapes:
        input (..., n_features), output (..., classes).

    Raises:
        ValueError: If the stages differ in number, pixels and shape do not fit, or nothing is
            left of an image.
    """

    blocks: nn.Sequential
    drop: nn.Module
    head: nn.Module

    def __init__(
        self,
        n_features: int,
        channels: Sequence[int],
        kernel_sizes: Sequence[int],
        strides: Sequence[int],
        image_shape: Sequence[int] | None,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernel_sizes) == len(strides) > 0:
            raise ValueError(
                "channels, kernel_sizes and strides must be as many, one for each stage, got "
                f"{list(channels)}, {list(kernel_sizes)} and {list(strides)}"
            )
        check_positive(
            channels=min(channels), kernel_sizes=min(kernel_sizes), strides=min(strides)
        )
        self.image_shape = find_image_shape(n_features, image_shape)
        n_in, *size = self.image_shape
        widths = (n_in, *channels[:-1])
        self.stages = [
            Stage(*each) for each in zip(widths, channels, kernel_sizes, strides, strict=True)
        ]
        for _, _, side, stride in self.stages:
            windows = Windows((side, side), (stride, stride), (1, 1))
            size = list(windows.places(*(n + 2 * (side // 2) for n in size)))
            size = size if pooling == "none" else [n // 2 for n in size]
        if not min(size):
            raise ValueError(f"pooling leaves nothing of an image of {self.image_shape}")
        self.n_left = channels[-1] * size[0] * size[1]

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores: (..., n_features) to (..., classes)."""
        images, lead = as_images(x, self.image_shape)
        scores = self.head(self.drop(self.blocks(images).flatten(1)))
        return scores.reshape(*lead, scores.shape[-1])

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its parts describe themselves."""
        return f"image_shape={self.image_shape}"


class UGMMConvNetwork(ImageNetwork):
    r"""Convolutions of mixture neurons, a norm after each, and a head.

    Arguments:
        n_features: Number of pixels.
        n_classes: Number of classes.
        channels: Neurons of each stage.
        kernel_sizes: Sides of their windows; half of it is the padding.
        strides: Steps between their places.
        image_shape: (H, W) or (C, H, W) of the image; by default it is grey and square.
        pooling: What halves the image after each stage: ``"none"``, ``"max"``, ``"avg"`` or
            ``"logmeanexp"``, see `LogMeanExpPool2d`.
        residual: How many residual blocks follow each stage; see `UGMMResidualBlock2d`.
        norm: What scores go through: ``"none"``, ``"layer"`` (LayerNorm over the channels at each
            place), ``"batch"`` (BatchNorm) or ``"centred"``, see `CentredBatchNorm2d`.
        head: What makes class scores; see :func:`ugmm.nn.heads.make_head`.
        dropout: Probability that a component is dropped, in the first stage or, as a sequence,
            in each.
        input_dropout: Probability that a pixel is dropped.
        feature_dropout: Probability that a number is dropped on its way to the head.
        padding_mode: What lies beyond the edges; see `UGMMConv2d`.
        init: ``"unit"`` has scales 1 and means N(0, 0.5^2) in the first stage, N(0, 1) after it;
            ``"data"`` is completed by :meth:`init_from`.
        widen: Initial scales are so many times those. Wide neurons begin as nearly linear ones:
            with one scale and inputs near the means, and without what all neurons share,
            :math:`s_j \approx \frac{1}{N \sigma^2} \sum_k \mu_{jk} x_k`.
        min_scale: Floor under every scale.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
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
        norm: ImageNorm = "centred",
        head: Head = "linear",
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        feature_dropout: float = 0.0,
        padding_mode: PaddingMode = "drop",
        init: Literal["unit", "data"] = "unit",
        widen: float = 1.0,
        min_scale: float = 0.2,
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(n_features, channels, kernel_sizes, strides, image_shape, pooling)
        if init not in ("unit", "data"):
            raise ValueError(f"init must be 'unit' or 'data', got {init!r}")
        if not 0 < widen < math.inf:
            raise ValueError(f"widen must be positive and finite, got {widen}")
        self.init, self.widen = init, widen
        rates, blocks = per_layer(dropout, len(channels)), list[nn.Module]()
        for i, stage in enumerate(self.stages):
            conv = UGMMConv2d(
                *stage.geometry,
                padding_mode=padding_mode,
                dropout=rates[i],
                min_scale=min_scale,
                loc_std=1.0 if i else 0.5,
                kernel=kernel,
                input_dropout=0.0 if i else input_dropout,
                device=device,
                dtype=dtype,
            )
            norm_after = make_image_norm(norm, stage.n_out, device, dtype)
            blocks += [conv, norm_after, make_pooling(pooling)]
            blocks += [
                UGMMResidualBlock2d(
                    *(stage.n_out, stage.side, norm, rates[i], min_scale),
                    *(padding_mode, kernel, device, dtype),
                )
                for _ in range(residual)
            ]
        self.blocks = nn.Sequential(*blocks)
        self.drop = Dropout(feature_dropout)
        self.head = make_head(head, self.n_left, n_classes, min_scale, kernel, device, dtype)
        for block in self.blocks:
            self._widen(block)

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:  # noqa: ARG002
        """Initialise every convolution from a batch of data as it arrives there.

        Args:
            x: (batch, n_features).
            y: Not used.
        """
        seen, _ = as_images(x, self.image_shape)
        for block in self.blocks:
            if isinstance(block, UGMMConv2d | UGMMResidualBlock2d):
                block.init_from(seen)
                self._widen(block)
            seen = block(seen)

    @torch.no_grad()
    def _widen(self, block: nn.Module) -> None:
        for layer in block.modules():
            # By 1, scales near their floor would move: see `UGMM._set_scale`.
            if isinstance(layer, UGMMConv2d) and self.widen != 1:
                layer._set_scale(self.widen * layer.scale)

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its parts describe themselves."""
        return f"{super().extra_repr()}, init={self.init!r}, widen={self.widen}"
