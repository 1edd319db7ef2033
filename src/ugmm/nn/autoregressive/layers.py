"""The layers of mixture neurons between the first one, which sees prefixes, and a head."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.autoregressive.base import AutoregressiveDensity
from ugmm.nn.mixture import UGMM

__all__ = ["LayeredDensity"]


class LayeredDensity(AutoregressiveDensity):
    """A density whose first layer's scores go through more layers, with a LayerNorm before each.

    The head reads what is normalised once more.
    """

    def _add_layers(self, hidden: Sequence[int], min_scale: float, kernel: KernelName) -> None:
        """Make the layers of these widths, of which the first layer's is the first."""
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in hidden)
        self.layers = nn.ModuleList(
            UGMM(n, m, min_scale=min_scale, kernel=kernel) for n, m in pairwise(hidden)
        )

    def _after_first(self, h: Tensor) -> Tensor:
        """Return what the head reads of the first layer's scores: (..., M) to (..., M')."""
        for norm, layer in zip(self.norms, self.layers, strict=False):
            h = layer(norm(h))
        return self.norms[-1](h)

    @torch.no_grad()
    def _init_after_first(self, h: Tensor) -> None:
        """Fit each layer's initial parameters to the first one's scores, (..., M)."""
        for norm, layer in zip(self.norms, cast("list[UGMM]", list(self.layers)), strict=False):
            h = norm(h)
            layer.init_from(h.reshape(-1, h.shape[-1]))
            h = layer(h)
