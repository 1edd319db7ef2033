"""Norms between layers of a convolutional network."""

from typing import Literal

import torch
from torch import Tensor, nn

from ugmm.nn.norms import BatchNorm2d

__all__ = ["CentredBatchNorm2d", "ChannelNorm", "ImageNorm", "make_image_norm"]

ImageNorm = Literal["none", "layer", "batch", "centred"]


class CentredBatchNorm2d(BatchNorm2d):
    r"""BatchNorm of what each neuron's score says beside the others at its place.

    .. math::
        \operatorname{BatchNorm}\Big(s_j(p) - \frac{1}{M} \sum_i s_i(p)\Big)

    All neurons look at one window, and where its values are unlikely the scores of all are low.
    About a fifth of their variance is such, and says little about which neuron fits.

    Arguments:
        num_features: M, the number of channels; it and the others are as of
            `torch.nn.BatchNorm2d`.

    Shapes:
        input (B, M, H, W), output the same.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return the normalised scores."""
        return super().forward(input - input.mean(1, keepdim=True))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels at every place: (B, C, H, W) to the same.

    Arguments:
        num_channels: C.
        device: Where the parameters live.
        dtype: Their floating-point type.
    """

    def __init__(
        self,
        num_channels: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_channels, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return the normalised channels."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def make_image_norm(
    norm: ImageNorm, channels: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module:
    """Return the norm of this name, a module from (B, channels, H, W) to the same.

    Raises:
        ValueError: If there is no such norm, or it would leave nothing of one channel.
    """
    if norm == "none":
        return nn.Identity()
    kinds = {"layer": ChannelNorm, "batch": BatchNorm2d, "centred": CentredBatchNorm2d}
    if norm not in kinds:
        raise ValueError(f"norm must be 'none', {', '.join(map(repr, kinds))}, got {norm!r}")
    if channels == 1 and norm != "batch":
        raise ValueError(f"norm={norm!r} needs two channels or more, got 1: use 'batch' or 'none'")
    return kinds[norm](channels, device=device, dtype=dtype)
