"""What every query begins with: whether it can be asked, and rows that are asked one by one."""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from ugmm.nn.checks import check_levels
from ugmm.nn.classifier import Density
from ugmm.nn.evidence import Evidence, Queryable

__all__ = [
    "Asked",
    "alike",
    "beside",
    "check_density",
    "check_evidence",
    "generator_of",
    "refuse_levels",
]


class Asked(Queryable, Density):
    """What a density is that has passed `check_density`; a type only."""


def check_density(density: object) -> Asked:
    """Check that a density can be queried.

    Raises:
        ValueError: If it is none, cannot be queried, or is being trained.
    """
    name = type(density).__name__
    if not getattr(density, "normalized", False):
        raise ValueError(
            f"{name} has no density of its features: it answers posteriors only; train one by "
            "task=generative"
        )
    if not isinstance(density, Queryable):
        raise ValueError(f"{name} is a density that cannot be queried, but evaluated only")
    if getattr(density, "training", False):
        raise ValueError(f"{name} is in training mode; call eval() first")
    return density  # type: ignore[return-value]


def check_evidence(density: Asked, evidence: Evidence) -> Evidence:
    """Return evidence where the density is, and of its type, if it is of its kind.

    Raises:
        ValueError: If the number of features is not the density's, a label is not one of its
            classes, or a feature that is known can have no such value.
    """
    evidence.check(density.n_features, density.n_classes)
    if density.n_classes == 1:  # a label that says nothing
        evidence = Evidence(evidence.x, evidence.known)
    check_levels(evidence.x[evidence.known], density.levels)
    return beside(density, evidence)


def refuse_levels(density: Asked, what: str) -> None:
    """Refuse what is worked out for features of two levels or of any value, and none between.

    Raises:
        ValueError: If the density's features have three levels or more.
    """
    if density.levels is not None and not density.binary:
        raise ValueError(
            f"{what} is not there for features of {density.levels} levels; ask for marginals, or "
            "for samples by importance"
        )


def beside(network: nn.Module, evidence: Evidence) -> Evidence:
    """Return evidence on a network's device, its features of the network's type."""
    own = next(chain(network.parameters(), network.buffers()), None)
    return evidence if own is None else evidence.to(own.device, own.dtype)


def generator_of(seed: int, row: int = 0) -> torch.Generator:
    """Return a source of randomness, on the CPU, for a row of the evidence, of any seed."""
    return torch.Generator().manual_seed((seed + 0x9E3779B1 * row) % 2**64)


def alike(evidence: Evidence) -> Iterator[Tensor]:
    """Yield the numbers of rows of which the same is known, features and label: (m,) each.

    A density answers all of them exactly, or none.
    """
    for _, rows in evidence.patterns():
        labelled = evidence.y[rows] >= 0
        yield from (part for part in (rows[labelled], rows[~labelled]) if len(part))
