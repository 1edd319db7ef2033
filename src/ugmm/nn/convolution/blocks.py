"""What convolutional networks are put together from, besides their layers."""

from typing import Literal

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.convolution.layers import PaddingMode, UGMMConv2d
from ugmm.nn.convolution.norms import ImageNorm, make_image_norm
from ugmm.nn.convolution.pooling import LogMeanExpPool2d

__all__ = ["Pooling", "UGMMResidualBlock2d", "make_pooling"]

Pooling = Literal["none", "max", "avg", "logmeanexp"]


class UGMMResidualBlock2d(nn.Module):
    r"""A convolution that adds to what it is given: :math:`x + \operatorname{Norm}(s(x))`.

    Arguments:
        channels: M, of the input and of the output.
        kernel_size: Side of the windows.
        norm: What the scores go through: ``"none"``, ``"layer"``, ``"batch"`` or ``"centred"``.
        dropout: As the others, of :class:`ugmm.nn.UGMMConv2d`.
        min_scale: See there.
        padding_mode: See there.
        kernel: See there.
        device: See there.
        dtype: See there.

    Shapes:
        input (B, M, H, W), output the same.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        norm: ImageNorm = "centred",
        dropout: float = 0.0,
        min_scale: float = 1e-3,
        padding_mode: PaddingMode = "drop",
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.conv = UGMMConv2d(
            channels,
            channels,
            kernel_size,
            padding="same",
            padding_mode=padding_mode,
            dropout=dropout,
            min_scale=min_scale,
            kernel=kernel,
            device=device,
            dtype=dtype,
        )
        self.norm = make_image_norm(norm, channels, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and what the neurons add to it."""
        return x + self.norm(self.conv(x))

    def init_from(self, x: Tensor) -> None:
        """Initialise the convolution from a batch of its inputs; see `UGMMConv2d.init_from`."""
        self.conv.init_from(x)


def make_pooling(pooling: Pooling) -> nn.Module:
    """Return the pooling of this name, over windows of 2 by 2.

    Raises:
        ValueError: If there is none.
    """
    kinds = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "logmeanexp": LogMeanExpPool2d}
    if pooling == "none":
        return nn.Identity()
    if pooling not in kinds:
        raise ValueError(f"pooling must be 'none', {', '.join(map(repr, kinds))}, got {pooling!r}")
    return kinds[pooling](2)
