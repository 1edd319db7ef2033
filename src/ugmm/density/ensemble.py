"""Averages of densities."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ugmm.nn import Density
from ugmm.nn.checks import check_draws

__all__ = ["Ensemble"]


class Ensemble(Density):
    r"""The average of K densities, each of them normalised: :math:`p = \frac1K \sum_k p_k`.

    Arguments:
        members: The densities.

    Raises:
        ValueError: If there are none.
    """

    def __init__(self, members: Sequence[Density]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one member")
        self.members = nn.ModuleList(members)
        self.binary = any(member.binary for member in members)

    def __iter__(self) -> Iterator[Density]:
        return iter(cast("Sequence[Density]", self.members))

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D) to (..., C)."""
        scores = torch.stack([member.class_scores(x) for member in self])
        return scores.logsumexp(0) - math.log(len(self.members))

    def coordinate_scores(
        self, x: Tensor, values: Tensor, coordinates: Tensor | None = None
    ) -> Tensor:
        """See `Classifier.coordinate_scores`: each member finds its own."""
        scores = [member.coordinate_scores(x, values, coordinates) for member in self]
        return torch.stack(scores).logsumexp(0) - math.log(len(self.members))

    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Set each member's initial parameters; see `Classifier.init_from`."""
        for member in self:
            member.init_from(x, y)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,), an equal share from each member.

        Args:
            n: Number of draws.
            generator: Source of randomness, where the members want it; by default, torch's own.
        """
        check_draws(n)
        k = len(self.members)
        sizes = [n // k + (index < n % k) for index in range(k)]
        members: list[Any] = list(self)  # densities that can be drawn from
        pairs = zip(members, sizes, strict=True)
        draws = [member.sample(size, generator=generator) for member, size in pairs]
        return torch.cat([x for x, _ in draws]), torch.cat([y for _, y in draws])
