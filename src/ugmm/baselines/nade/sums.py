"""Linear maps of all prefixes of a row, or of some."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["prefix_sums"]


def prefix_sums(x: Tensor, weight: Tensor, chosen: Tensor) -> Tensor:
    """Return the sums of W_k x_k over k < d, for each d that is chosen.

    Whole blocks of sqrt(D) features are added up once; only what is left over of a block is
    computed for each position.

    Args:
        x: (batch, D).
        weight: W, (M, D).
        chosen: Positions d, (P,), int64.

    Returns:
        (batch, P, M).
    """
    d = x.shape[1]
    size = math.isqrt(d - 1) + 1
    blocks = -(-d // size)
    more = size * blocks - d
    x, weight = (F.pad(t, (0, more)).unflatten(1, (blocks, size)) for t in (x, weight))
    whole = torch.einsum("bns,mns->bnm", x, weight)
    before = F.pad(whole.cumsum(1), (0, 0, 1, 0))
    block = chosen // size
    inside = torch.arange(size, device=x.device) < (chosen % size).unsqueeze(1)
    rest = torch.einsum("bps,mps->bpm", x[:, block] * inside, weight[:, block])
    return before[:, block] + rest
