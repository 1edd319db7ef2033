"""What the heads share: which features are asked for, and of what type random numbers are."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["features_at", "kind_of_noise"]


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
