"""A map from features to features: affine, or a layer of mixture neurons in its place."""

from typing import Literal

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.mixture import UGMM

__all__ = ["Map", "check_map", "make_map", "reset"]

Map = Literal["linear", "ugmm"]


def check_map(**kinds: str) -> None:
    """Raise ValueError unless there are maps of these kinds, given by what they are for."""
    for name, kind in kinds.items():
        if kind not in ("linear", "ugmm"):
            raise ValueError(f"{name} must be 'linear' or 'ugmm', got {kind!r}")


def make_map(
    kind: Map,
    in_features: int,
    out_features: int,
    min_scale: float,
    kernel: KernelName,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    input_dropout: float = 0.0,
    loc_std: float = 1.0,
    parts: int = 1,
) -> nn.Module:
    """Return a map from (..., N) to (..., M) of features about 0.

    Mixture neurons are followed by a LayerNorm: log-scores are far from 0, and spread over much
    more or much less than a unit.

    Args:
        kind: ``"linear"``, an affine map, or ``"ugmm"``, mixture neurons and a LayerNorm.
        in_features: N.
        out_features: M.
        min_scale: Floor under every scale of a neuron.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.
        input_dropout: Of neurons: probability that an input is left out, row by row.
        loc_std: Of neurons: the means are drawn from N(0, loc_std^2).
        parts: Of neurons: how many equal parts of the features are normalised by themselves.
    """
    if kind == "linear":
        return nn.Linear(in_features, out_features, device=device, dtype=dtype)
    neurons = UGMM(
        in_features,
        out_features,
        min_scale=min_scale,
        loc_std=loc_std,
        kernel=kernel,
        input_dropout=input_dropout,
        device=device,
        dtype=dtype,
    )
    norms = [nn.LayerNorm(out_features // parts, device=device, dtype=dtype) for _ in range(parts)]
    return nn.Sequential(neurons, norms[0] if parts == 1 else _Parts(norms))


class _Parts(nn.Module):
    """A norm for each of equal parts of the features."""

    def __init__(self, norms: list[nn.LayerNorm]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.norms), -1)
        return torch.cat([norm(p) for norm, p in zip(self.norms, parts, strict=True)], -1)


def reset(part: nn.Module) -> None:
    """Draw the parameters of a map, or of several in a row, afresh."""
    for module in part.modules():
        if isinstance(module, nn.Linear | nn.LayerNorm | UGMM):
            module.reset_parameters()
