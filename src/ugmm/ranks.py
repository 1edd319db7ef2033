"""One training batch in several processes: random numbers and moments as if it were one process's.

Rank r of W has the rows r, r + W, r + 2 W, ... of every batch, as many as each other rank, and the
same random state. What is drawn for each row is drawn for the whole batch, of which a rank takes
its own rows' numbers: training then does not depend on the number of processes. One process draws
what it would if there were no others.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional

__all__ = ["any_rank", "chunk_rows", "draw_rows", "dropout", "gather", "rank_of"]


def rank_of() -> tuple[int, int]:
    """Return this process's rank, and how many there are: 0 and 1 unless torch knows of others."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def draw_rows(
    draw: Callable[[Sequence[int]], Tensor], shape: Sequence[int], axis: int = 0
) -> Tensor:
    """Draw numbers for the whole batch and return those of this rank's rows.

    Args:
        draw: Draws a tensor of a shape, on every rank the same one.
        shape: Of what is wanted.
        axis: Which dimension counts the rows.
    """
    rank, world = rank_of()
    if world == 1:
        return draw(shape)
    drawn = draw((*shape[:axis], world * shape[axis], *shape[axis + 1 :]))
    return drawn[(*[slice(None)] * axis, slice(rank, None, world))]


def dropout(x: Tensor, p: float, training: bool = True, axis: int = 0) -> Tensor:
    """Do as `torch.nn.functional.dropout` does; dimension `axis` of x counts the rows."""
    if not training or p == 0 or rank_of()[1] == 1:
        return functional.dropout(x, p, training)
    return x * draw_rows(lambda shape: functional.dropout(x.new_ones(shape), p), x.shape, axis)


def chunk_rows(x: Tensor, chunks: int) -> Sequence[Tensor]:
    """Chunk the whole batch as `torch.chunk` does; return this rank's rows of every chunk.

    Args:
        x: This rank's rows, (rows, ...).
        chunks: How many, at most. A rank may have no rows of one.
    """
    rank, world = rank_of()
    if world == 1:
        return x.chunk(chunks)
    n = world * len(x)
    size = math.ceil(n / chunks)
    ends = [math.ceil((min(end, n) - rank) / world) for end in range(size, n + size, size)]
    return x.tensor_split(ends[:-1])


def any_rank(flag: Tensor) -> Tensor:
    """Return whether a flag (), bool, is set on any rank."""
    if rank_of()[1] == 1:
        return flag
    found = flag.to(torch.uint8)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return found.bool()


def gather(x: Tensor) -> Tensor:
    """Return all ranks' tensors of one shape, (W, ...), through which gradients go back to all."""
    return _Gather.apply(x)


class _Gather(torch.autograd.Function):
    """As torch's own, which is deprecated in favour of a private function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        parts = [torch.empty_like(x) for _ in range(rank_of()[1])]
        distributed.all_gather(parts, x.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[rank_of()[0]]
