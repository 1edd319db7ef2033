"""What weighted draws are worth, and draws of equal weight that are chosen from them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.nn.evidence import Draws, Evidence, Queryable

__all__ = [
    "TOO_FAR",
    "RowSamples",
    "Worth",
    "draws_of",
    "effective",
    "error_factor",
    "is_exact",
    "resample",
]

TOO_FAR = (
    "the evidence is too far from all that the density knows of for its probability to be computed"
)


class Worth(NamedTuple):
    """What the draws of one row are worth: see `ugmm.inference.samples.Samples`."""

    method: str
    effective: float
    share: float
    largest: float
    acceptance: float


class RowSamples(NamedTuple):
    """Draws of equal weight for one row of the evidence.

    Attributes:
        x: Features, (n, D).
        y: Labels, (n,).
        worth: What they are worth.
    """

    x: Tensor
    y: Tensor
    worth: Worth


def draws_of(density: Queryable, row: Evidence, n: int, generator: torch.Generator) -> Draws:
    """Return n weighted draws given one row of evidence.

    Raises:
        ValueError: If no weight can be computed.
    """
    draws = density.draw(row, n, generator)
    if draws.log_weight.isnan().any() or draws.marginal.log_prob.isnan().any():
        raise ValueError(TOO_FAR)
    return draws


def effective(draws: Draws) -> float:
    """Return how many independent draws those of one row are worth.

    It is as few as their weights say, or as few as the density says where that is less, since it
    knows of draws that have a part of their features in common.
    """
    found = len(draws.log_weight[0]) * float(draws.marginal.effective[0])
    return min(_by_weights(draws), found)


def error_factor(draws: Draws) -> float:
    """Return how much larger an average's error is than weights alone say: see `effective`."""
    return math.sqrt(_by_weights(draws) / effective(draws))


def _by_weights(draws: Draws) -> float:
    return 1 / float((2 * draws.log_weight[0]).exp().sum())


def resample(log_weight: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Choose k draws by their weights (m,), systematically, in random order: their numbers (k,).

    One of weight w is chosen k w times, rounded up or down.
    """
    edges = log_weight.exp().cumsum(0)
    points = torch.arange(k, dtype=torch.float64) + torch.rand(1, generator=generator).double()
    at = (points / k).to(edges.device) * edges[-1]
    chosen = torch.searchsorted(edges, at).clamp(max=len(edges) - 1)
    return chosen[torch.randperm(k, generator=generator).to(chosen.device)]


def is_exact(draws: Draws) -> bool:
    """Return whether the draws of one row are the density's own: independent, of equal weight."""
    weights = draws.log_weight[0]
    return draws.marginal.is_settled and bool((weights - weights[0]).abs().max() < 1e-9)
