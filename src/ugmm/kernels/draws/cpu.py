"""Binary features on a CPU in float32: compiled loops, split over threads.

Rows are drawn (`pixels`); or populations of rows, where features are known (`populations`).
"""

import torch
from torch import Tensor

from ugmm.kernels.compiled.threads import count_vectors, run
from ugmm.kernels.draws import pixels, populations
from ugmm.kernels.draws.table import Table

__all__ = ["draw_binary", "send_binary"]


def draw_binary(x: Tensor, given: int, start: Tensor, table: Table) -> None:
    """Draw features that are 0 or 1, each given those before it, in place.

    Args:
        x: (n, D), contiguous: features that are given, then numbers that are uniform in [0, 1),
            each of which becomes its feature.
        given: How many features are given.
        start: s of each row, (n, M).
        table: The network.
    """
    tensors = {"x": x, "start": start.contiguous()}
    sizes = {"batch": len(x), "used": given}
    run(pixels.passes(), count_vectors(len(x)), **tensors, **sizes, **table.fields())


def send_binary(
    x: Tensor,
    labels: Tensor,
    known: Tensor,
    begin: Tensor,
    offsets: Tensor,
    start: Tensor,
    table: Table,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw features where they are not known, in populations that are weighed by those that are.

    Args:
        x: (T, P, E), contiguous, of T populations of P particles, a multiple of 16: numbers that
            are uniform in [0, 1), each of which becomes its feature.
        labels: Which row of `start` a particle begins with, (T, P), int64.
        known: Each population's known features; -1 where one is not known, (T, E).
        begin: From which feature on the known ones are weighed, (T,), int64.
        offsets: Uniform in [0, 1), for resampling after each feature, (T, E).
        start: s of each label, (C, M).
        table: The network.

    Returns:
        The logarithm of the estimate of the probability of what was weighed, (T,), float64; those
        of the particles' shares of a population, (T, P); and of which particle at the beginning
        each one is a descendant, (T, P), int64.
    """
    total = x.new_empty(len(x), dtype=torch.float64)
    weights, ancestors = x.new_empty(labels.shape), torch.empty_like(labels)
    tensors = {
        "x": x, "rows": labels.contiguous(), "known": known.contiguous(),
        "counts": begin.contiguous(), "offsets": offsets.contiguous(), "start": start.contiguous(),
        "total": total, "weights": weights, "kept": ancestors,
    }  # fmt: skip
    sizes = {"batch": x.shape[1], "used": x.shape[2], "wanted": len(start)}
    run(populations.passes(), len(x), **tensors, **sizes, **table.fields())
    return total, weights, ancestors
