"""The most probable completion of rows: what is not known, features and label together."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ugmm.inference.ascent import Ascent
from ugmm.inference.candidates import Choice, Found, dtype_of, enumerate_all, stacked
from ugmm.inference.flips import Flips
from ugmm.nn.classifier import Density
from ugmm.nn.evidence import Evidence, Queryable

__all__ = ["Mode", "mpe"]

_STARTS, _STARTS_BINARY = 24, 4
_DRAWS_BINARY = 64
_ENUMERATED = 2**12  # combinations at most: twelve binary features
_WIDER = 10  # times as large is the search that checks
_NUMBERS = 2**22  # held at once in draws


class Mode(NamedTuple):
    """The most probable completions of n rows of evidence, as far as a search found them.

    Attributes:
        x: Features, (n, D), in the type of the evidence; what was known is as it was.
        y: Labels, (n,).
        log_prob: log p(x, y), in nats, (n,), float64.
        agreed: How many of the starts ended at this value, (n,).
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

    A search, except where all that is free can be enumerated: draws given the evidence and points
    put together from the first layer's means are screened, and from the best distinct ones it
    climbs: continuous features by coordinate ascent and damped Newton steps, binary ones by
    flips. No step leads downwards. The most probable completion need not be a typical one: of
    pictures it is a bad one, to which `sample` is preferable.

    Args:
        density: A density that can be drawn from given evidence.
        evidence: What is known of each row; labels may be known too.
        starts: How many points are followed for each row; 24, or 4 of binary features.
        seed: Of all that is random: with the same one, the answer is the same.
        choices: Groups of features that together hold one of K rows of values, (K, m), such as
            the code of a category.
        rows: Training rows (m, D): completions of binary rows start from the nearest too.
        check: Whether to search ten times as widely too.

    Raises:
        ValueError: If the network is no density, or one that was not normalised yet; if the
            evidence has another number of features or a label that there is none of; or if what
            is known of a choice is none of its values.
    """
    search = _Search.of(density, evidence, starts, seed, choices, rows)
    found, complete = search.run()
    gap = None
    if check:
        wider = search.wider().run()[0]
        better = wider.log_prob > found.log_prob
        gain = torch.where(better, wider.log_prob - found.log_prob, 0.0)
        gap = torch.where(better & found.log_prob.isinf(), torch.inf, gain)
        found = Found(
            torch.where(better.unsqueeze(1), wider.x, found.x),
            *(torch.where(better, w, f) for w, f in zip(wider[1:], found[1:], strict=True)),
        )
    x = torch.where(evidence.known, evidence.x, found.x.to(evidence.x))
    return Mode(x, found.y, found.log_prob, found.agreed, gap, complete)


@dataclass
class _Search:
    density: Density  # in evaluation mode
    exact: Density  # the same in float64
    evidence: Evidence
    starts: int
    seed: int
    choices: list[Choice]
    rows: Tensor | None

    @classmethod
    def of(
        cls,
        density: Density,
        evidence: Evidence,
        starts: int | None,
        seed: int,
        choices: Sequence[tuple[Sequence[int], Tensor]],
        rows: Tensor | None,
    ) -> "_Search":
        name = type(density).__name__
        if not getattr(density, "normalized", False):
            raise ValueError(f"a {name} is no density: it has no most probable completion")
        if not isinstance(density, Queryable):
            raise ValueError(f"a {name} cannot be drawn from given evidence")
        if starts is not None and starts < 1:
            raise ValueError(f"starts must be at least 1, got {starts}")
        n_features, n_classes = density.n_features, density.n_classes
        if evidence.x.shape[1] != n_features:
            raise ValueError(
                f"the density is of {n_features} features, the evidence of {evidence.x.shape[1]}"
            )
        if len(evidence) and int(evidence.y.max()) >= n_classes:
            raise ValueError(
                f"a label is {int(evidence.y.max())}, and it must be 0 to {n_classes - 1}"
            )
        quick = copy.deepcopy(density).eval()
        exact = copy.deepcopy(quick).double()
        for module in exact.modules():
            if hasattr(module, "kernel"):
                module.kernel = "reference"  # the others are not made for this type
        wide = evidence.to(dtype=torch.float64)
        start = starts or (_STARTS_BINARY if density.binary else _STARTS)
        groups = [_choice(features, values, wide) for features, values in choices]
        search = cls(quick, exact, wide, start, seed, groups, rows)
        search.check()
        return search

    def check(self) -> None:
        """Refuse what would give NaN."""
        for choice in self.choices:
            lost = ~choice.allowed(self.evidence).any(1)
            if lost.any():
                raise ValueError(
                    f"row {int(lost.nonzero()[0])}: what is known of the features "
                    f"{choice.features.tolist()} is none of the values of their choice"
                )
        if len(self.evidence):
            scores = self.exact.class_scores(self.evidence.x[:1])
            if scores.isnan().all():
                raise ValueError("the density has no log Z yet: call normalize() first")

    def wider(self) -> "_Search":
        """Return a search ten times as large, with other draws."""
        wide = _WIDER * self.starts
        return _Search(
            self.density, self.exact, self.evidence, wide, self.seed + 1, self.choices, self.rows
        )

    def run(self) -> tuple[Found, Tensor]:
        """Search, and return what was found and whether it is the best of all."""
        free = ~self.evidence.known
        complete = torch.zeros(len(free), dtype=torch.bool, device=free.device)
        order, found = [], []
        for mask, numbers in self.evidence.patterns():
            part = self.evidence[numbers]
            groups = self._groups(mask)
            if groups is not None:
                complete[numbers] = True
                found.append(enumerate_all(self.exact, part, groups))
                order.append(numbers)
        rest = (~complete).nonzero().squeeze(1)
        generator = torch.Generator().manual_seed(self.seed)
        draws = self._draws()
        size = max(1, _NUMBERS // (draws * free.shape[1]))
        with self.density.prepared(), self.exact.prepared():
            for numbers in rest.split(size) if len(rest) else ():
                found.append(self._climb(self.evidence[numbers], draws, generator))
                order.append(numbers)
        if not found:
            return _nothing(self.evidence), complete
        back = torch.cat(order).argsort()
        return Found(*(t[back] for t in stacked(found))), complete

    def _groups(self, known: Tensor) -> list[Choice] | None:
        """Return the choices that are free where these features are known, if few are all."""
        free = ~known
        groups = [c for c in self.choices if free[c.features].any()]
        if self.density.binary:
            bits = torch.tensor([[0.0], [1.0]], device=known.device)
            groups += [Choice(i, bits) for i in free.nonzero()]
        left = free.clone()
        for group in groups:
            left[group.features] = False
        combinations = math.prod(len(c.values) for c in groups)
        return None if left.any() or combinations > _ENUMERATED else groups

    def _draws(self) -> int:
        if self.density.binary:
            return _DRAWS_BINARY * self.starts // _STARTS_BINARY
        return Ascent(
            self.density, self.exact, self.choices, self.starts, torch.Generator()
        ).draws()

    def _climb(self, evidence: Evidence, draws: int, generator: torch.Generator) -> Found:
        given = evidence.to(dtype=dtype_of(self.density))
        x = cast("Queryable", self.density).draw(given, draws, generator).x.double()
        x = torch.where(evidence.known.unsqueeze(1), evidence.x.unsqueeze(1), x)
        if self.density.binary:
            return Flips(self.density, self.exact, self.starts, self.rows)(evidence, x)
        return Ascent(self.density, self.exact, self.choices, self.starts, generator)(evidence, x)


def _choice(features: Sequence[int], values: Tensor, evidence: Evidence) -> Choice:
    device = evidence.x.device
    numbers = torch.as_tensor(features, dtype=torch.long, device=device)
    if values.dim() != 2 or values.shape[1] != len(numbers) or not len(values):
        raise ValueError(
            f"a choice of {len(numbers)} features has values (K, {len(numbers)}), "
            f"got {tuple(values.shape)}"
        )
    return Choice(numbers, values.to(device, torch.float64))


def _nothing(evidence: Evidence) -> Found:
    """Return what there is to find for no rows."""
    none = evidence.x.new_empty(0)
    return Found(evidence.x[:0], evidence.y[:0], none, none.long())
