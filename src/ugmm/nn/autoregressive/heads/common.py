"""What the heads share: weights, which features are asked for, and the type of random numbers."""

from typing import Any

import torch
from torch import Tensor, nn

from ugmm.nn.autoregressive.heads.neighbours import Neighbours

__all__ = ["DiscreteHead", "features_at", "kind_of_noise"]


class DiscreteHead(nn.Module):
    """What reads the distribution of features that have levels off scores: an affine map of each.

    Arguments:
        weight: Where the weights of each feature's own begin, (D, M, ...).
        bias: Where the biases do, (D, ...).
        near: A linear term of the pixels before each, or None.
        shared: Whether features share weights that are added to each one's own.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, near: Neighbours | None, shared: bool
    ) -> None:
        super().__init__()
        self.near = near
        self.weight = nn.Parameter(weight)
        self.common = nn.Parameter(torch.zeros_like(weight[0])) if shared else None
        self.bias = nn.Parameter(bias)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Number the features anew: the first is now the one that was number order[0].

        For a head without a term of neighbours, which are those of one order only.
        """
        for parameter in (self.weight, self.bias):
            parameter.copy_(parameter[order])

    def weights(self, at: Tensor | slice) -> Tensor:
        """Return the weights of some features, with those that all share."""
        own = self.weight[at]
        return own if self.common is None else own + self.common


def kind_of_noise(parameter: Tensor, generator: torch.Generator | None) -> dict[str, Any]:
    """Where and of what type random numbers are: those of half a precision would be too coarse."""
    device = parameter.device if generator is None else generator.device
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return {"generator": generator, "device": device, "dtype": dtype}


def features_at(chosen: Tensor | slice | None, order: Tensor | None) -> Tensor | slice:
    """Return the numbers of the features at the chosen positions of an order; None: all."""
    if order is None:
        return slice(None) if chosen is None else chosen
    return order if chosen is None else order[chosen]
