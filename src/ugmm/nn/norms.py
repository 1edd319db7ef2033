"""What feed-forward networks share: valid widths, and the norms between their layers."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Norm", "check_sizes", "make_norm"]

Norm = Literal["none", "layer", "batch"]


def check_sizes(sizes: Sequence[int], name: str = "sizes") -> None:
    """Raise ValueError unless there are two or more positive widths."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"{name} must be two or more positive widths, got {list(sizes)}")


def make_norm(
    norm: Norm, width: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module:
    """Return the norm of this name, a module from (..., width) to (..., width).

    Raises:
        ValueError: If there is no such norm.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "layer":
        return nn.LayerNorm(width, device=device, dtype=dtype)
    if norm == "batch":
        return _BatchNorm(width, device=device, dtype=dtype)
    raise ValueError(f"norm must be 'none', 'layer' or 'batch', got {norm!r}")


class _BatchNorm(nn.BatchNorm1d):
    """BatchNorm over all leading dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)
