"""Which components, or inputs, a pass of training drops."""

import torch
from torch import Tensor

from ugmm.ranks import draw_rows

__all__ = ["dropped"]


def dropped(
    x: Tensor, dropout: float, known: Tensor | None = None, *, of_batch: bool = True
) -> Tensor:
    """Draw which elements of each row of `x` (..., N) are dropped: bool, never all known ones.

    Args:
        x: Of what shape.
        dropout: Probability that an element is dropped.
        known: Which elements are, (..., N); None: all.
        of_batch: Whether the first of several dimensions counts the rows of a batch, of which
            other processes may have others; or x is the same in all of them.
    """
    # Four draws of 16 bits in one number take a third of the time of floats.
    n, low, high = x.shape[-1], -(2**63), 2**63 - 1
    shape = (*x.shape[:-1], (n + 3) // 4)
    if of_batch and x.dim() > 1:
        draw = draw_rows(lambda size: torch.randint(low, high, size, device=x.device), shape)
    else:
        draw = torch.randint(low, high, shape, device=x.device)
    if torch.jit.is_tracing():  # which knows no views of another type
        draw = torch.stack([draw >> bits for bits in (0, 16, 32, 48)], -1).to(torch.int16)
        draw = draw.flatten(-2)[..., :n]
    else:
        draw = draw.view(torch.int16)[..., :n]
    if known is not None:
        draw = draw.masked_fill(~known, -(2**15))
    # The element with the largest draw always stays, so that no row loses them all.
    lowest_kept = round((dropout - 0.5) * 2**16)
    return draw < draw.amax(-1, keepdim=True).clamp(max=lowest_kept)
