"""The most probable completion of rows: what is not known, features and label together."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ugmm.inference.asking import (
    Asked,
    check_density,
    check_evidence,
    generator_of,
    refuse_levels,
)
from ugmm.inference.modes.ascent import Ascent
from ugmm.inference.modes.candidates import Choice, Found, enumerate_all
from ugmm.inference.modes.flips import Flips
from ugmm.nn import Density
from ugmm.nn.checks import check_positive
from ugmm.nn.evidence import Evidence

__all__ = ["Mode", "mpe"]

_STARTS, _STARTS_BINARY = 24, 4
_ENUMERATED = 2**12  # combinations at most: twelve binary features
_WIDER = 10  # times as large is the search that checks
_NUMBERS = 2**22  # of draws, held at once


class Mode(NamedTuple):
    """The most probable completions of n rows of evidence, as far as a search found them.

    Attributes:
        x: Features, (n, D), in the type of the evidence; what was known is as it was.
        y: Labels, (n,).
        log_prob: log p(x, y), in nats, (n,), float64.
        agreed: How many of the starts ended at this value, (n,); 1 where all was enumerated.
        gap: By how much a search ten times as large was better, (n,); what it found is what is
            returned then. None if it was not asked for.
        is_exact: Whether there is no better one, since all were tried, (n,).
    """

    x: Tensor
    y: Tensor
    log_prob: Tensor
    agreed: Tensor
    gap: Tensor | None
    is_exact: Tensor


@torch.no_grad()
def mpe(
    density: Density,
    evidence: Evidence,
    *,
    starts: int | None = None,
    seed: int = 0,
    choices: Sequence[tuple[Sequence[int], Tensor]] = (),
    rows: Tensor | None = None,
    check: bool = False,
) -> Mode:
    """Find the most probable completion of each row of evidence, features and label together.

    It is a search, except where all that is free can be enumerated. Draws given the evidence, and
    points put together from the first layer's means, are screened; from the best distinct ones
    continuous features climb by coordinate ascent, tries nearby and Newton steps, binary ones by
    flips. No step leads downwards. What is most probable need not be typical: as a picture it is
    a bad one, and `sample` a better question.

    Args:
        density: A density that can be queried, in evaluation mode.
        evidence: What is known of each row, labels too.
        starts: How many points are followed for each row; 24, or 4 of binary features.
        seed: With the same one, the answer is the same.
        choices: Groups of features that together hold one of K rows of values (K, m), such as
            the code of a category: their numbers, and the values in model units.
        rows: Training rows (m, D): completions of binary rows start from the nearest, too.
        check: Whether to search ten times as widely, too.

    Raises:
        ValueError: If the density cannot answer, the evidence does not fit it, or what is known
            of a choice is none of its values.
    """
    asked = check_density(density)
    refuse_levels(asked, "a most probable completion")
    check_positive(starts=1 if starts is None else starts)
    taken = check_evidence(asked, evidence)
    search = _Search.of(asked, taken, starts, seed, choices, rows)
    found, exact = search.run()
    gap = None
    if check:
        wider = replace(search, starts=_WIDER * search.starts, seed=seed + 1).run()[0]
        better = found.or_better(wider)
        gap = torch.where(better.log_prob > found.log_prob, better.log_prob - found.log_prob, 0.0)
        found = better
    x = evidence.x.where(evidence.known, found.x.to(evidence.x))  # what was known, to the bit
    return Mode(x, found.y, found.log_prob, found.agreed, gap, exact)


@dataclass
class _Search:
    density: Asked
    exact: Density  # a copy in float64
    evidence: Evidence  # as the density takes it
    wide: Evidence  # in float64
    starts: int
    seed: int
    choices: list[Choice]
    rows: Tensor | None

    @classmethod
    def of(
        cls,
        density: Asked,
        evidence: Evidence,
        starts: int | None,
        seed: int,
        choices: Sequence[tuple[Sequence[int], Tensor]],
        rows: Tensor | None,
    ) -> "_Search":
        exact = copy.deepcopy(density).double()
        module: Any
        for module in exact.modules():
            if hasattr(module, "kernel"):
                module.kernel = "reference"  # the others are not made for this type
        default = _STARTS_BINARY if density.binary else _STARTS
        wide = evidence.to(dtype=torch.float64)
        groups = [_choice(*group, evidence=wide) for group in choices]
        return cls(density, exact, evidence, wide, starts or default, seed, groups, rows)

    def run(self) -> tuple[Found, Tensor]:
        """Search, and return what was found and whether all there is was tried."""
        n, d = self.evidence.x.shape
        complete = torch.zeros(n, dtype=torch.bool, device=self.wide.x.device)
        order, found = [], []
        for mask, numbers in self.wide.patterns():
            if (groups := self._all_of(mask)) is not None:
                complete[numbers] = True
                found.append(enumerate_all(self.exact, self.wide[numbers], groups))
                order.append(numbers)
        generator, climb = generator_of(self.seed), self._climber()
        most = max(1, _NUMBERS // (climb.n_draws * d))
        with self.density.prepared():
            for numbers in (~complete).nonzero().squeeze(1).split(most):
                if len(numbers):  # none are a part, too
                    drawn = self.density.draw(self.evidence[numbers], climb.n_draws, generator)
                    found.append(climb(self.wide[numbers], drawn.x.double(), generator))
                    order.append(numbers)
        if not found:
            return enumerate_all(self.exact, self.wide, []), complete
        back = torch.cat(order).argsort()
        return Found(*(part[back] for part in Found.joined(found))), complete

    def _climber(self) -> Ascent | Flips:
        if self.density.binary:
            return Flips(self.density, self.exact, self.starts, self.rows)
        return Ascent(self.density, self.exact, self.choices, self.starts)

    def _all_of(self, known: Tensor) -> list[Choice] | None:
        """Return the choices that are free where these features are known, if few are all."""
        left = ~known
        groups = [choice for choice in self.choices if left[choice.features].any()]
        for group in groups:
            left[group.features] = False
        if self.density.binary:
            bits = torch.tensor([[0.0], [1.0]], device=known.device)
            groups += [Choice(one, bits) for one in left.nonzero()]
            left = torch.zeros_like(left)
        combinations = math.prod(len(group.values) for group in groups)
        return None if left.any() or combinations > _ENUMERATED else groups


def _choice(features: Sequence[int], values: Tensor, evidence: Evidence) -> Choice:
    numbers = torch.as_tensor(features, dtype=torch.long, device=evidence.x.device)
    if values.dim() != 2 or values.shape[1] != len(numbers) or not len(values):
        raise ValueError(
            f"a choice of {len(numbers)} features has values (K, {len(numbers)}), "
            f"got {tuple(values.shape)}"
        )
    choice = Choice(numbers, values.to(evidence.x))
    lost = (~choice.allowed(evidence).any(1)).nonzero()
    if len(lost):
        raise ValueError(
            f"row {int(lost[0])}: what is known of features {numbers.tolist()} is in none of the "
            "rows of values that they may hold"
        )
    return choice
