"""Modes of continuous densities: screening, coordinate ascent, tries nearby, Newton steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ugmm.inference.modes.candidates import (
    Choice,
    Found,
    best_labels,
    class_scores,
    distinct_tops,
    dtype_of,
    taken,
)
from ugmm.inference.modes.newton import newton
from ugmm.nn import UGMM, Density
from ugmm.nn.evidence import Evidence

__all__ = ["Ascent", "landmarks"]


class _Stage(NamedTuple):
    points: int  # that go on, for each start
    sweeps: int
    rounds: int  # of tries, at most
    tries: int  # of each point in a round


# Many points get a little of the work, the best of them more: where peaks are narrow, that finds
# more than the same work for fewer points.
_STAGES = (_Stage(8, 0, 20, 16), _Stage(3, 1, 30, 32), _Stage(1, 1, 60, 32))

_DRAWS = 85  # screened, for each start
_ASSEMBLED = 0.7  # of the features of half of them are put together from several means
_RADIUS = 0.25  # within which points are the same start, in standard deviations of the draws
_GRID = 32
_NEAR = 0.02  # the same for points that have climbed
_QUIET = 5  # rounds without a gain, after which there are no more
_MOVED = 0.6  # of the features in a try
_WIDTHS = (-3.5, 0.0)  # of tries, in standard deviations of the draws: bounds of the logarithm
_LEAST_SPREAD = 1e-3  # where draws hardly differ, in model units
_SAME = 1e-3  # nats: ends that are called the same


def landmarks(density: nn.Module, n_features: int) -> Tensor:
    """Return the means of the mixture neurons that see the features themselves: (m, D), float64.

    A score has its narrow peaks where first-layer components have theirs. There are none (m = 0)
    in a density that is not built on such neurons.
    """
    members = getattr(density, "members", None)
    if isinstance(members, nn.ModuleList):  # of an ensemble
        return torch.cat([landmarks(member, n_features) for member in members])
    first = next((m for m in density.modules() if isinstance(m, UGMM)), None)
    if first is None or first.in_features < n_features:
        return torch.empty(0, n_features, dtype=torch.float64)
    return first.loc.detach()[:, :n_features].double()


@dataclass
class Ascent:
    """A search that climbs from the best of many points.

    Attributes:
        density: Continuous, in evaluation mode.
        exact: The same in float64.
        choices: Features that hold one of a few rows of values.
        starts: How many points are followed, for each row of evidence.
    """

    density: Density
    exact: Density
    choices: Sequence[Choice]
    starts: int

    @property
    def n_draws(self) -> int:
        """How many draws of each row of evidence it begins with."""
        return _DRAWS * self.starts

    def __call__(self, evidence: Evidence, draws: Tensor, generator: torch.Generator) -> Found:
        """Find the most probable completions of n rows.

        Args:
            evidence: The rows, in float64.
            draws: Draws given the evidence, (n, S, D), float64.
            generator: On the CPU.
        """
        climb = _Climb(self, evidence, draws, generator)
        for stage in _STAGES:
            climb.keep(stage.points * self.starts)
            for _ in range(stage.sweeps):
                climb.sweep()
            climb.scatter(stage.rounds, stage.tries)
        return climb.finish()


class _Climb:
    """Points on their way up, K for each row of evidence.

    Attributes:
        x: (n, K, D), float64.
        y: Their labels, (n, K).
        value: log p(x, y), (n, K), float64.
    """

    def __init__(
        self, search: Ascent, evidence: Evidence, draws: Tensor, generator: torch.Generator
    ) -> None:
        self.search, self.evidence, self.generator = search, evidence, generator
        self.smooth = ~evidence.known  # the features that move freely
        for choice in search.choices:
            self.smooth[:, choice.features] = False
        self.spread = draws.std(1).clamp(min=_LEAST_SPREAD)
        self.low = draws.amin(1) - self.spread / 2
        self.high = draws.amax(1) + self.spread / 2
        self.means = landmarks(search.exact, draws.shape[-1]).to(draws)
        self.x = self._assembled(draws)
        self.value, self.y = best_labels(search.density, self.x, evidence)
        self.near = _RADIUS

    def keep(self, k: int) -> None:
        """Go on with the k best distinct points of each row."""
        tops = distinct_tops(self.x, self.y, self.value, k, self.near * self.spread)
        self.x = self.x.gather(1, tops.unsqueeze(-1).expand(-1, -1, self.x.shape[-1]))
        self.y, self.value = self.y.gather(1, tops), self.value.gather(1, tops)
        self.near = _NEAR

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator).to(self.low)

    def _assembled(self, draws: Tensor) -> Tensor:
        """Return the draws, half of them with features put in their place from several means."""
        x = draws.clone()
        n, half, d = len(x), x.shape[1] // 2, x.shape[2]
        if len(self.means):
            pick = (self._rand(n, half, d) * len(self.means)).long()
            value = self.means[pick, torch.arange(d, device=x.device)]
            value = value.clamp(self.low.unsqueeze(1), self.high.unsqueeze(1))
            x[:, :half] = value.where(self._rand(n, half, d) < _ASSEMBLED, x[:, :half])
        for choice in self.search.choices:
            allowed, values = choice.allowed(self.evidence), choice.values.to(x)
            close = -(x[:, :, choice.features].unsqueeze(2) - values).square().sum(-1)
            # Draws know what is likely together; half of them try all there is instead.
            close[:, ::2] = self._rand(*close[:, ::2].shape)
            pick = close.masked_fill(~allowed.unsqueeze(1), -torch.inf).argmax(-1)
            x[:, :, choice.features] = values[pick]
        return self.evidence.x.unsqueeze(1).where(self.evidence.known.unsqueeze(1), x)

    def sweep(self) -> None:
        """Move one coordinate after the other, and one choice, to the best of its candidates."""
        for i in self.smooth.any(0).nonzero().squeeze(1):
            live = self.smooth[:, i].nonzero().squeeze(1)
            low, high = self.low[live, i, None], self.high[live, i, None]
            # A fresh shift each time: in the end it is as fine as one likes.
            steps = (torch.arange(_GRID).to(low) + self._rand(len(live), 1)) / _GRID
            means = self.means[:, i].expand(len(live), -1).clamp(low, high)
            values = torch.cat([low + (high - low) * steps, means], 1)
            self._try_along(live, i, values)
        for choice in self.search.choices:
            live = (choice.allowed(self.evidence).sum(1) > 1).nonzero().squeeze(1)
            if len(live):
                self._try_choice(live, choice)

    def scatter(self, rounds: int, tries: int) -> None:
        """Move each point to the best of some tries nearby, at many distances, again and again.

        Narrow peaks stand close to each other: Newton steps alone end at the nearest.
        """
        quiet = 0
        for _ in range(rounds):
            before = self.value.clone()
            self._try_nearby(tries)
            quiet = 0 if (self.value - before > _SAME).any() else quiet + 1
            if quiet == _QUIET:
                break

    def _try_nearby(self, tries: int) -> None:
        n, k, d = self.x.shape
        shape = (n, k, tries, d)
        normal = torch.randn(shape, generator=self.generator).to(self.x)
        low, high = _WIDTHS
        width = (low + (high - low) * self._rand(n, k, tries, 1)).exp()
        moved = (self._rand(*shape) < _MOVED) & self.smooth[:, None, None]
        step = normal * width * moved * self.spread[:, None, None]
        self._try_points(torch.arange(n, device=step.device), self.x.unsqueeze(2) + step)

    def _try_along(self, live: Tensor, i: Tensor, values: Tensor) -> None:
        """Give feature i of the live rows' points their best candidate values, (l, q)."""
        density, k = self.search.density, self.x.shape[1]
        dtype = dtype_of(density)
        points = self.x[live].flatten(0, 1).to(dtype)
        each = values.to(dtype).repeat_interleave(k, 0).unsqueeze(1)
        scores = density.coordinate_scores(points, each, i.unsqueeze(0)).squeeze(1)
        up, pick = self._climb(live, scores.unflatten(0, (-1, k)))
        there = values.gather(1, pick)
        self.x[live, :, i] = there.where(up, self.x[live, :, i])

    def _try_choice(self, live: Tensor, choice: Choice) -> None:
        """Give a choice's features of the live rows' points their best values."""
        values = choice.values.to(self.x)
        new = self.x[live].unsqueeze(2).repeat(1, 1, len(values), 1)
        new[..., choice.features] = values
        self._try_points(live, new, choice.allowed(self.evidence[live]))

    def _try_points(self, live: Tensor, new: Tensor, allowed: Tensor | None = None) -> None:
        """Move the live rows' points to the best of q new ones each, (l, K, q, D), if better."""
        scores = class_scores(self.search.density, new)
        if allowed is not None:  # (l, q)
            scores = scores.masked_fill(~allowed[:, None, :, None], -torch.inf)
        up, pick = self._climb(live, scores)
        there = new.gather(2, pick[..., None, None].expand(-1, -1, 1, new.shape[-1])).squeeze(2)
        self.x[live] = there.where(up.unsqueeze(-1), self.x[live])

    def _climb(self, live: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Choose among q candidates of the live rows' points by their class scores (l, K, q, C).

        Returns:
            Whether the best is better than the point, and which it is, (l, K) each.
        """
        values, labels = taken(
            self.evidence[live].restrict(scores.double().nan_to_num(nan=-torch.inf))
        )
        best, pick = taken(values)
        up = best > self.value[live]
        self.y[live] = labels.gather(2, pick.unsqueeze(-1)).squeeze(-1).where(up, self.y[live])
        self.value[live] = best.where(up, self.value[live])
        return up, pick

    def finish(self) -> Found:
        """Climb to the tops in float64 and return the best."""
        each = (t.repeat_interleave(self.x.shape[1], 0) for t in (self.smooth, self.spread))
        ends, value = newton(self.search.exact, self.x.flatten(0, 1), self.y.flatten(), *each)
        return Found.best_of(
            ends.reshape(self.x.shape), self.y, value.reshape(self.y.shape), _SAME
        )
