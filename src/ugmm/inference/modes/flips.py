"""Modes of densities of binary features: the gradient proposes flips, exact values decide."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ugmm.inference.modes.candidates import (
    Found,
    at_once,
    best_labels,
    distinct_tops,
    dtype_of,
    taken,
)
from ugmm.nn import AutoregressiveUGMM, Density
from ugmm.nn.evidence import Evidence

__all__ = ["Flips", "climb_by_flips", "nearest_rows"]

_DRAWS, _BEAM = 16, 64  # for each start
_PROPOSED = 12  # flips that are tried in a round, alone and together
_ROUNDS = 200
_LEAST = 1e-4  # nats that a round must gain: less may be rounding, in float32
_NEAREST = 32  # training rows that are completions to start from


@dataclass
class Flips:
    """A search from the best of many completions, by flips of single features and of several.

    Of an autoregressive network, what a beam search finds is one of them, if it can be made.

    Attributes:
        density: Of binary features, in evaluation mode.
        exact: The same in float64.
        starts: How many completions are followed, for each row of evidence; as many again that
            the nearest training rows suggest.
        rows: Training rows (m, D) whose completions are tried, or None.
    """

    density: Density
    exact: Density
    starts: int
    rows: Tensor | None

    @property
    def n_draws(self) -> int:
        """How many draws of each row of evidence it begins with."""
        return _DRAWS * self.starts

    def __call__(self, evidence: Evidence, draws: Tensor, generator: torch.Generator) -> Found:  # noqa: ARG002
        """Find the most probable completions of n rows.

        Args:
            evidence: The rows, in float64.
            draws: Draws given the evidence, (n, S, D).
            generator: Not needed.
        """
        completions, known = draws.to(dtype_of(self.density)), evidence.known.unsqueeze(1)
        if isinstance(self.density, AutoregressiveUGMM) and self.density.head.near is None:
            beam = self.density.beam(evidence, _BEAM * self.starts).x.to(completions)
            completions = torch.cat([completions, beam.unsqueeze(1)], 1)
        tops = [self._best(evidence, completions)]
        if self.rows is not None:
            near = nearest_rows(self.rows.to(completions), evidence, _NEAREST)
            near = evidence.x.to(near).unsqueeze(1).where(known, near)
            # As many of their own: with rows an answer is no worse than without.
            tops.append(self._best(evidence, near))
        x, y = (torch.cat(parts, 1) for parts in zip(*tops, strict=True))
        free = (~known).expand_as(x).flatten(0, 1)
        ends = climb_by_flips(self.density, x.flatten(0, 1), y.flatten(), free)
        # Another label may have become the best.
        value, y = best_labels(self.exact, ends.reshape(x.shape), evidence)
        return Found.best_of(ends.reshape(x.shape), y, value, _LEAST)

    def _best(self, evidence: Evidence, completions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best distinct of some completions, and their labels."""
        value, y = best_labels(self.density, completions, evidence)
        apart = torch.full_like(completions[:, 0], 0.5)
        tops = distinct_tops(completions, y, value, self.starts, apart)
        x = completions.gather(1, tops.unsqueeze(-1).expand(-1, -1, completions.shape[-1]))
        return x, y.gather(1, tops)


def nearest_rows(rows: Tensor, evidence: Evidence, k: int) -> Tensor:
    """Return the k rows (m, D) nearest to each row of evidence, in known features: (n, k, D)."""
    known = evidence.known.to(rows)
    # The squared distance without the part that is the same for all rows.
    distance = known @ rows.square().T - 2 * (evidence.x.to(rows) * known) @ rows.T
    return rows[distance.topk(min(k, len(rows)), largest=False).indices]


def climb_by_flips(density: Density, x: Tensor, y: Tensor, free: Tensor) -> Tensor:
    """Flip free features as long as that makes a point more probable.

    Each round tries those flips that the gradient says are the best, alone; then the best two of
    them together, the best three, and so on.

    Args:
        density: Of binary features.
        x: Points, (P, D).
        y: Their labels, (P,).
        free: True where a feature may be flipped, (P, D).

    Returns:
        Where they end, (P, D).
    """
    x, value = x.clone(), _values(density, x.unsqueeze(1), y).squeeze(1)
    live, k = torch.arange(len(x), device=x.device), min(_PROPOSED, x.shape[1])
    for _ in range(_ROUNDS):
        point, label = x[live], y[live]
        gain = _slopes(density, point, label) * (1 - 2 * point)
        gain = gain.masked_fill(~free[live], -torch.inf).nan_to_num(nan=-torch.inf)
        promise, which = gain.topk(k, 1)
        void = promise == -torch.inf
        one = torch.zeros(len(live), k, x.shape[1], dtype=torch.bool, device=x.device)
        one.scatter_(2, which.unsqueeze(-1), ~void.unsqueeze(-1))
        alone = _values(density, flipped(point, one), label)
        order = alone.masked_fill(void, -torch.inf).argsort(1, descending=True)
        several = one.gather(1, order.unsqueeze(-1).expand_as(one)).cumsum(1) > 0
        together = _values(density, flipped(point, several[:, 1:]), label)
        # The first of `several` is the best flip alone.
        best, pick = taken(torch.cat([alone.gather(1, order[:, :1]), together], 1))
        up = best > value[live] + _LEAST
        changed = several[torch.arange(len(live), device=x.device), pick]
        new = flipped(point, changed.unsqueeze(1)).squeeze(1)
        x[live] = torch.where(up.unsqueeze(1), new, point)
        value[live] = torch.where(up, best, value[live])
        live = live[up]
        if not len(live):
            break
    return x


def flipped(x: Tensor, where: Tensor) -> Tensor:
    """Return points (P, D) with some features flipped, as each of k masks says: (P, k, D)."""
    return torch.where(where, 1 - x.unsqueeze(1), x.unsqueeze(1))


@torch.no_grad()
def _values(density: Density, x: Tensor, y: Tensor) -> Tensor:
    """Return log p of k points for each of P labels: (P, k, D) and (P,) to (P, k)."""
    labels = y.unsqueeze(1).expand(x.shape[:2]).flatten()
    rows = at_once(density)
    parts = zip(x.flatten(0, 1).split(rows), labels.split(rows), strict=True)
    found = torch.cat([density(a, b).double() for a, b in parts])
    return found.nan_to_num(nan=-torch.inf).reshape(x.shape[:2])


def _slopes(density: Density, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of log p in the features, (P, D)."""
    rows, found = at_once(density), []
    for a, b in zip(x.split(rows), y.split(rows), strict=True):
        with torch.enable_grad():
            moving = a.detach().clone().requires_grad_(True)
            found += torch.autograd.grad(density(moving, b).sum(), moving)
    return torch.cat(found)
