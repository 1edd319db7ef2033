"""What feed-forward networks share: valid widths, and the norms between their layers."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ugmm.kernels.problem import widened
from ugmm.ranks import gather, rank_of

__all__ = ["BatchNorm1d", "BatchNorm2d", "Norm", "check_sizes", "make_norm"]

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
        return _BatchNormOfRows(width, device=device, dtype=dtype)
    raise ValueError(f"norm must be 'none', 'layer' or 'batch', got {norm!r}")


class _OfAllRanks(nn.Module):
    """A BatchNorm with the moments of the whole batch, of which several processes have rows.

    Torch's own, SyncBatchNorm, takes no tensors on a CPU, and takes the place of a class that is
    derived from BatchNorm whatever that does besides.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if not self.training or rank_of()[1] == 1:
            return super().forward(input)
        return _normalised(self, input)


class BatchNorm1d(_OfAllRanks, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d`, in several processes of all their rows."""


class BatchNorm2d(_OfAllRanks, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, in several processes of all their rows."""


def _normalised(norm: Any, x: Tensor) -> Tensor:
    """Return x (B, C, ...) normalised by the moments of all ranks, which the norm keeps track of.

    Every rank has as many rows.
    """
    norm._check_input_dim(x)
    wide, others = widened(x), [axis for axis in range(x.dim()) if axis != 1]
    own = torch.stack([wide.mean(others), wide.var(others, correction=0)])
    means, variances = gather(own).unbind(1)
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    if norm.running_mean is not None:
        _track(norm, mean.detach(), variance.detach(), len(means) * wide.numel() // len(mean))
    shape = (-1, *[1] * (x.dim() - 2))
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    found = (wide - mean.view(shape)) * scale.view(shape)
    return (found + norm.bias.view(shape) if norm.affine else found).to(x.dtype)


def _track(norm: Any, mean: Tensor, variance: Tensor, n: int) -> None:
    """Take the moments of n numbers of each channel into those that evaluation normalises by."""
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean), share)
    norm.running_var.lerp_((variance * n / (n - 1)).to(norm.running_var), share)


class _BatchNormOfRows(BatchNorm1d):
    """BatchNorm over all leading dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)
