"""Averages of densities."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ugmm.nn import Density
from ugmm.nn.checks import check_draws
from ugmm.nn.evidence import Draws, Evidence, Marginal, Queryable

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
        self.levels = next((m.levels for m in members if m.levels), None)
        self.missing = all(member.missing for member in members)

    def __iter__(self) -> Iterator[Density]:
        return iter(cast("Sequence[Density]", self.members))

    def expect_missing(self) -> None:
        """See `Classifier.expect_missing`."""
        for member in self:
            member.expect_missing()
        self.missing = True

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

    @property
    def n_features(self) -> int:
        """D, of members that can be queried."""
        return self._first.n_features

    @property
    def n_classes(self) -> int:
        """C, of members that can be queried."""
        return self._first.n_classes

    @property
    def _first(self) -> Any:
        return self.members[0]

    def marginal(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:
        """Return log p of each row's evidence: the mean of what the members say.

        The error is that of the mean, for members whose errors are independent. Each member uses
        its part of the n draws.
        """
        each = -(-n // len(self.members))
        members = cast("list[Queryable]", list(self))
        return _mean([member.marginal(evidence, each, generator) for member in members])

    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n weighted draws for each row of the evidence.

        Each is one of a member's own n draws, and the member is drawn by its responsibility.
        """
        members = cast("list[Queryable]", list(self))
        whole = members[0].draw(evidence, n, generator)
        marginals, total = [whole.marginal], whole.marginal.log_prob
        for member in members[1:]:
            new = member.draw(evidence, n, generator)
            marginals.append(new.marginal)
            total = torch.logaddexp(total, new.marginal.log_prob)
            share = (new.marginal.log_prob - total).exp()  # so far; earlier ones keep the rest
            chance = torch.rand(new.y.shape, generator=generator, dtype=torch.float64)
            taken = chance.to(share.device) < share.unsqueeze(1)
            whole = Draws(
                torch.where(taken.unsqueeze(2), new.x, whole.x),
                torch.where(taken, new.y, whole.y),
                torch.where(taken, new.log_weight, whole.log_weight),
                whole.marginal,
            )
        log_weight = whole.log_weight.log_softmax(1)
        return whole._replace(log_weight=log_weight, marginal=_mean(marginals))

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


def _mean(marginals: list[Marginal]) -> Marginal:
    """Return the answer of the mean of densities, from theirs."""
    logs = torch.stack([each.log_prob for each in marginals])
    share = logs.softmax(0)  # of each density in the sum, (K, n)
    error = (share * torch.stack([each.error for each in marginals])).square().sum(0).sqrt()
    effective = (share * torch.stack([each.effective for each in marginals])).sum(0)
    exact = all(each.is_exact for each in marginals)
    log_prob = logs.logsumexp(0) - math.log(len(marginals))
    empty = (logs == 0).all(0)  # rounding aside
    return Marginal(log_prob.masked_fill(empty, 0), error, effective.clamp(max=1), exact)
