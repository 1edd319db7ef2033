"""Modes of continuous densities: screening, coordinate ascent, damped Newton; monotone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ugmm.inference.candidates import (
    Choice,
    Found,
    at_once,
    best_labels,
    distinct_tops,
    taken,
)
from ugmm.nn import UGMM
from ugmm.nn.classifier import Density
from ugmm.nn.evidence import Evidence

__all__ = ["Ascent", "landmarks", "newton"]

_DRAWS = 85  # screened, for each start
_ASSEMBLED = 0.7  # of the features of half the draws are taken from the first layer's means
_RADIUS = 0.25  # within which points are the same start, in standard deviations of the draws
_GRID = 32
_SWEEPS = 3
_ROUNDS = 20
_TRIES = 32  # of each point in a round
_WIDTHS = (-3.5, 0.0)  # of a try, in standard deviations of the draws: their logarithms lie between
_POLISHED = 24
_STEPS = 30
_BLOCK = 64  # features that have their Hessian together
_SAME = 1e-3  # nats: ends that are called the same


def landmarks(density: Density, n_features: int) -> Tensor:
    """Return the means of the mixture neurons that see the features themselves: (m, D), float64.

    A score has its narrow peaks where first-layer components have theirs. There are none (m = 0)
    in a density that is not built on such neurons.
    """
    members = getattr(density, "members", None)
    if members is not None and not isinstance(members, Tensor):  # of an ensemble
        return torch.cat([landmarks(member, n_features) for member in members])
    first = next((m for m in density.modules() if isinstance(m, UGMM)), None)
    if first is None or first.in_features < n_features:
        device = next(iter(density.state_dict().values())).device
        return torch.empty(0, n_features, dtype=torch.float64, device=device)
    return first.loc.detach()[:, :n_features].double()


@dataclass
class Ascent:
    """A search from the best of many draws.

    Attributes:
        density: Continuous, in evaluation mode.
        exact: The same in float64.
        choices: Features that hold one of a few rows of values.
        starts: How many points are followed, for each row of evidence.
        generator: On the CPU.
    """

    density: Density
    exact: Density
    choices: Sequence[Choice]
    starts: int
    generator: torch.Generator

    def draws(self) -> int:
        """Return how many draws of each row of evidence are screened."""
        return _DRAWS * self.starts

    def __call__(self, evidence: Evidence, draws: Tensor) -> Found:
        """Find the most probable completions of rows, from draws of them (n, S, D)."""
        free = ~evidence.known
        smooth = free.clone()
        for choice in self.choices:
            smooth[:, choice.features] = False
        low, high = draws.amin(1), draws.amax(1)
        spread = draws.std(1).clamp(min=1e-3)
        low, high = low - spread / 2, high + spread / 2
        means = landmarks(self.density, draws.shape[-1])
        x = self._assemble(evidence, draws, low, high, means)
        value, y = best_labels(self.density, x, evidence.y)
        tops = distinct_tops(x, y, value, self.starts, _RADIUS * spread)
        x = x.gather(1, tops.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        y, value = y.gather(1, tops), value.gather(1, tops)
        for _ in range(_SWEEPS):
            before = value.clone()
            self._sweep(evidence, smooth, x, y, value, low, high, means)
            if not ((value - before) > _SAME).any():
                break
        for _ in range(_ROUNDS):
            self._scatter(evidence, smooth, spread, x, y, value)
        each = tuple(t.repeat_interleave(x.shape[1], 0) for t in (smooth, spread))
        ends, value = newton(self.exact, x.flatten(0, 1), y.flatten(), *each)
        x, value = ends.reshape(x.shape), value.reshape(y.shape)
        log_prob, best = taken(value)
        agreed = (value >= log_prob.unsqueeze(1) - _SAME).sum(1)
        row = torch.arange(len(x), device=x.device)
        return Found(x[row, best], y[row, best], log_prob, agreed)

    def _assemble(
        self, evidence: Evidence, draws: Tensor, low: Tensor, high: Tensor, means: Tensor
    ) -> Tensor:
        """Return the draws, half of them with features put in their place from several means."""
        x = draws.clone()
        n, half, d = len(x), x.shape[1] // 2, x.shape[2]
        if len(means):
            pick = torch.randint(len(means), (n, half, d), generator=self.generator)
            value = means[pick.to(x.device), torch.arange(d, device=x.device)]
            value = torch.minimum(torch.maximum(value, low.unsqueeze(1)), high.unsqueeze(1))
            swap = torch.rand(n, half, d, generator=self.generator).to(x.device) < _ASSEMBLED
            x[:, :half] = torch.where(swap, value, x[:, :half])
        for choice in self.choices:
            allowed, values = choice.allowed(evidence), choice.values.to(x)
            close = -(x[:, :, choice.features].unsqueeze(2) - values).square().sum(-1)
            lot = torch.rand(close.shape, generator=self.generator).to(x)
            # The draws hold to what is likely together; half of them try all there is.
            close[:, ::2] = lot[:, ::2]
            pick = close.masked_fill(~allowed.unsqueeze(1), -torch.inf).argmax(-1)
            x[:, :, choice.features] = values[pick]
        return torch.where(evidence.known.unsqueeze(1), evidence.x.unsqueeze(1), x)

    def _sweep(
        self,
        evidence: Evidence,
        smooth: Tensor,
        x: Tensor,
        y: Tensor,
        value: Tensor,
        low: Tensor,
        high: Tensor,
        means: Tensor,
    ) -> None:
        """Move each coordinate of x (n, K, D) in turn to its best candidate, the label with it."""
        for i in smooth.any(0).nonzero().squeeze(1).tolist():
            live = smooth[:, i].nonzero().squeeze(1)
            bottom, top = low[live, i].unsqueeze(1), high[live, i].unsqueeze(1)
            shift = torch.rand(len(live), 1, generator=self.generator).to(x)
            grid = bottom + (top - bottom) * (torch.arange(_GRID).to(x) + shift) / _GRID
            at_means = torch.minimum(torch.maximum(means[:, i].expand(len(live), -1), bottom), top)
            values = torch.cat([grid, at_means], 1).unsqueeze(-1)
            self._move(evidence, live, torch.tensor([i], device=x.device), values, x, y, value)
        for choice in self.choices:
            allowed = choice.allowed(evidence)
            live = (allowed.sum(1) > 1).nonzero().squeeze(1)
            if len(live):
                values = choice.values.to(x).expand(len(live), -1, -1)
                self._move(evidence, live, choice.features, values, x, y, value, allowed[live])

    def _scatter(self, evidence: Evidence, smooth: Tensor, spread: Tensor, x: Tensor, y: Tensor, value: Tensor) -> None:
        """Move each point (n, K, D) to the best of some close to it, near and less near."""
        n, k, d = x.shape
        shape = (n, k, _TRIES, d)
        normal = torch.randn(shape, generator=self.generator).to(x)
        low, high = _WIDTHS
        width = (low + (high - low) * torch.rand(n, k, _TRIES, 1, generator=self.generator)).exp()
        some = torch.rand(shape, generator=self.generator) < 0.6
        step = normal * (width * some).to(x) * (spread * smooth)[:, None, None]
        new = x.unsqueeze(2) + step
        scores, labels = best_labels(self.density, new.flatten(1, 2), evidence.y)
        best, pick = taken(scores.reshape(n, k, -1))
        up = best > value
        x.copy_(torch.where(up.unsqueeze(-1), new.gather(2, pick[..., None, None].expand(-1, -1, 1, d)).squeeze(2), x))
        y.copy_(torch.where(up, labels.reshape(n, k, -1).gather(2, pick.unsqueeze(-1)).squeeze(-1), y))
        value.copy_(torch.where(up, best, value))

    def _move(
        self,
        evidence: Evidence,
        live: Tensor,
        features: Tensor,
        values: Tensor,
        x: Tensor,
        y: Tensor,
        value: Tensor,
        allowed: Tensor | None = None,
    ) -> None:
        """Give features of the live rows' points their best candidate values (l, q, m)."""
        (rows, q, _), k = values.shape, x.shape[1]
        new = x[live].unsqueeze(2).repeat(1, 1, q, 1)
        new[..., features] = values.unsqueeze(1).expand(-1, k, -1, -1)
        scores, labels = best_labels(self.density, new.flatten(1, 2), evidence.y[live])
        scores, labels = scores.reshape(rows, k, q), labels.reshape(rows, k, q)
        if allowed is not None:
            scores = scores.masked_fill(~allowed.unsqueeze(1), -torch.inf)
        best, pick = taken(scores)
        up = best > value[live]
        chosen = new.gather(2, pick[..., None, None].expand(-1, -1, 1, x.shape[-1])).squeeze(2)
        x[live] = torch.where(up.unsqueeze(-1), chosen, x[live])
        y[live] = torch.where(up, labels.gather(2, pick.unsqueeze(-1)).squeeze(-1), y[live])
        value[live] = torch.where(up, best, value[live])


def newton(
    density: Density, x: Tensor, y: Tensor, free: Tensor, unit: Tensor
) -> tuple[Tensor, Tensor]:
    """Climb from points by damped Newton steps on the Hessian's absolute eigenvalues.

    A step that does not lead upwards is not taken, and the damping grows. Many features are taken
    in blocks.

    Args:
        density: In float64.
        x: Points, (P, D), float64.
        y: Their labels, (P,).
        free: True where a feature may move, (P, D).
        unit: What is a long step, (P, D).

    Returns:
        Where they end, (P, D), and log p there, (P,).
    """
    x = x.clone()
    value = torch.empty(len(x), dtype=torch.float64, device=x.device)
    for part in torch.arange(len(x), device=x.device).split(at_once(density)):
        value[part] = _values(density, x[part], y[part])
        for columns in free.any(0).nonzero().squeeze(1).split(_BLOCK):
            x[part], value[part] = _climb(
                density, x[part], y[part], value[part], columns, free[part], unit[part]
            )
    return x, value


@torch.no_grad()
def _values(density: Density, x: Tensor, y: Tensor) -> Tensor:
    return density(x, y).double().nan_to_num(nan=-torch.inf)


def _climb(
    density: Density,
    x: Tensor,
    y: Tensor,
    value: Tensor,
    columns: Tensor,
    free: Tensor,
    unit: Tensor,
) -> tuple[Tensor, Tensor]:
    """Do what `newton` does in some columns."""
    x, value = x.clone(), value.clone()
    damping = torch.full_like(value, 1e-2)
    scale = torch.where(free, unit, 0.0)[:, columns]
    live = torch.arange(len(x), device=x.device)
    for _ in range(_STEPS):
        slope, bend = _derivatives(density, x[live], y[live], columns, scale[live])
        size, ways = torch.linalg.eigh(bend)
        along = (ways.transpose(1, 2) @ slope.unsqueeze(-1)).squeeze(-1)
        along = along / (size.abs() + damping[live].unsqueeze(1)).clamp(min=1e-9)
        step = (ways @ along.unsqueeze(-1)).squeeze(-1)
        length = step.norm(dim=1, keepdim=True)
        new = x[live]
        new[:, columns] += step / length.clamp(min=1) * scale[live]
        reached = _values(density, new, y[live])
        gain = reached - value[live]
        up = gain > 0
        x[live] = torch.where(up.unsqueeze(1), new, x[live])
        value[live] = torch.where(up, reached, value[live])
        damping[live] = torch.where(up, damping[live] / 5, damping[live] * 8).clamp(1e-8, 1e8)
        # Done: at the top to within rounding.
        going = torch.where(up, gain > 1e-10, (damping[live] < 1e6) & (length.squeeze(1) > 1e-7))
        live = live[going]
        if not len(live):
            break
    return x, value


def _derivatives(
    density: Density, x: Tensor, y: Tensor, columns: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Return gradients (P, m) and Hessians (P, m, m) in some columns, in units of the scale."""
    with torch.enable_grad():
        moving = x[:, columns].requires_grad_(True)
        whole = x.index_copy(1, columns, moving)
        (slope,) = torch.autograd.grad(density(whole, y).sum(), moving, create_graph=True)
        bend = [
            torch.autograd.grad(slope[:, i].sum(), moving, retain_graph=True)[0]
            for i in range(len(columns))
        ]
    slope, bends = slope.detach() * scale, torch.stack(bend, 1)
    bends = bends * scale.unsqueeze(1) * scale.unsqueeze(2)
    return slope.nan_to_num(0, 0, 0), bends.nan_to_num(0, 0, 0)
