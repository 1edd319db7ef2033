"""Which keys a query may see: torch.nn's two masks, as one that attention takes."""

import math

import torch
from torch import Tensor

from ugmm.nn.checks import check_tensors

__all__ = ["causal_mask", "merge_masks"]


def causal_mask(length: int, device: torch.device) -> Tensor:
    """Return a mask (S, S) in which no query sees a later key: True where it may not look."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)


def merge_masks(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    size: tuple[int, int, int],
    dtype: torch.dtype,
) -> Tensor | None:
    """Return both masks as one, broadcast to (B, H, S, S).

    Args:
        attn_mask: (S, S) or (B * H, S, S): bool, True where a query may not look; or floating,
            added to its scores.
        key_padding_mask: (B, S), of the same two kinds.
        size: B, H and S.
        dtype: Of the scores.

    Returns:
        bool, True where a query may look, as `scaled_dot_product_attention` has it; or floating,
        if either mask is; None if there is neither.

    Raises:
        TypeError: If a mask is of another type.
        ValueError: If it is of another shape.
    """
    batch, heads, length = size
    masks = []
    if attn_mask is not None:
        _check("attn_mask", attn_mask, (length, length), (batch * heads, length, length))
        each = (1, 1) if attn_mask.dim() == 2 else (batch, heads)
        masks.append(attn_mask.reshape(*each, length, length))
    if key_padding_mask is not None:
        _check("key_padding_mask", key_padding_mask, (batch, length))
        masks.append(key_padding_mask.reshape(batch, 1, 1, length))
    if not masks:
        return None
    if all(mask.dtype == torch.bool for mask in masks):
        return ~(masks[0] | masks[-1])
    added = [_added(mask, dtype) for mask in masks]
    return added[0] if len(added) == 1 else added[0] + added[1]


def _check(name: str, mask: Tensor, *shapes: tuple[int, ...]) -> None:
    check_tensors(**{name: mask})
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(f"{name} must be bool or floating, got {mask.dtype}")
    if mask.shape not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise ValueError(f"{name} must be of shape {wanted}, got {tuple(mask.shape)}")


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what a mask adds to scores."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)
