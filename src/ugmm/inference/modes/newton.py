"""Newton's method for many points at once, which never leads downwards."""

import torch
from torch import Tensor

from ugmm.inference.modes.candidates import at_once
from ugmm.nn import Density

__all__ = ["newton"]

_STEPS = 30
_BLOCK = 64  # features that share a Hessian
_PASSES, _STEPS_A_PASS = 10, 3  # over the blocks, where there are several
_LEAST = 1e-4  # nats that a pass must gain
_LITTLE = 1e-5  # of a unit
_DONE = 1e-10  # nats: a gain that may be rounding


def newton(
    density: Density, x: Tensor, y: Tensor, free: Tensor, unit: Tensor
) -> tuple[Tensor, Tensor]:
    """Climb from points by damped Newton steps on the Hessian's absolute eigenvalues.

    A step that does not lead upwards is not taken, and the damping grows. Many features are taken
    in blocks, one after the other and again.

    Args:
        density: In float64.
        x: Points, (P, D), float64.
        y: Their labels, (P,).
        free: True where a feature may move, (P, D).
        unit: What is a long step, (P, D).

    Returns:
        Where they end, (P, D), and log p there, (P,).
    """
    x, value = x.clone(), torch.empty(len(x), dtype=torch.float64, device=x.device)
    blocks = free.any(0).nonzero().squeeze(1).split(_BLOCK)
    passes, steps = (1, _STEPS) if len(blocks) == 1 else (_PASSES, _STEPS_A_PASS)
    for part in torch.arange(len(x), device=x.device).split(at_once(density)):
        climber = _Climber(density, x[part], y[part])
        for _ in range(passes):
            before = climber.value.clone()
            for columns in blocks:
                scale = torch.where(free[part], unit[part], 0.0)[:, columns]
                climber.climb(columns, scale, steps)
            if not (climber.value - before > _LEAST).any():
                break
        x[part], value[part] = climber.x, climber.value
    return x, value


class _Climber:
    """Points on their way up: where they are, and how high."""

    def __init__(self, density: Density, x: Tensor, y: Tensor) -> None:
        self.density, self.x, self.y = density, x, y
        self.value = self._height(x, y)

    @torch.no_grad()
    def _height(self, x: Tensor, y: Tensor) -> Tensor:
        return self.density(x, y).double().nan_to_num(nan=-torch.inf)

    def climb(self, columns: Tensor, scale: Tensor, steps: int) -> None:
        """Move in some columns, (m,), by steps that are of length 1 in units of the scale."""
        damping = torch.full_like(self.value, 1e-2)
        live = torch.arange(len(self.x), device=self.x.device)
        for _ in range(steps):
            slope, bend = self._derivatives(live, columns, scale[live])
            step = _damped_step(slope, bend, damping[live])
            length = step.norm(dim=1, keepdim=True)
            new = self.x[live]
            new[:, columns] += step / length.clamp(min=1) * scale[live]
            reached = self._height(new, self.y[live])
            gain = reached - self.value[live]
            up = gain > 0
            self.x[live] = torch.where(up.unsqueeze(1), new, self.x[live])
            self.value[live] = torch.where(up, reached, self.value[live])
            factor = torch.where(up, 0.2, 8.0)
            damping[live] = (damping[live] * factor).clamp(1e-8, 1e8)
            stuck = (damping[live] >= 1e6) | (length.squeeze(1) <= 1e-7)
            live = live[torch.where(up, gain > _DONE, ~stuck)]
            if not len(live):
                break

    def _derivatives(self, live: Tensor, columns: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradients (P, m) and Hessians (P, m, m), in units of the scale.

        The Hessians are differences of gradients, which one pass finds for all columns: of small
        networks five times as quick as differentiating twice, and exact enough for steps of which
        those that do not lead upwards are not taken.
        """
        m = len(columns)
        x = (
            self.x[live].unsqueeze(1).repeat(1, m + 1, 1)
        )  # a point, then one a little off each way
        x[:, 1:, columns] += _LITTLE * torch.diag_embed(scale)
        labels = self.y[live].repeat_interleave(m + 1)
        slope = self._slopes(x.flatten(0, 1), labels)[:, columns].unflatten(0, (-1, m + 1))
        slope = slope * scale.unsqueeze(1)
        bend = (slope[:, 1:] - slope[:, :1]) / _LITTLE
        slope, bend = slope[:, 0], (bend + bend.mT) / 2
        return slope.nan_to_num(0, 0, 0), bend.nan_to_num(0, 0, 0)

    @torch.enable_grad()
    def _slopes(self, x: Tensor, y: Tensor) -> Tensor:
        """Return gradients, (P, D)."""
        found, rows = [], at_once(self.density)
        for point, label in zip(x.split(rows), y.split(rows), strict=True):
            moving = point.detach().requires_grad_()
            found += torch.autograd.grad(self.density(moving, label).sum(), moving)
        return torch.cat(found)


def _damped_step(slope: Tensor, bend: Tensor, damping: Tensor) -> Tensor:
    """Return each row's step: uphill along every axis of curvature, (P, m)."""
    size, axes = torch.linalg.eigh(bend)
    along = (axes.mT @ slope.unsqueeze(-1)).squeeze(-1)
    along = along / (size.abs() + damping.unsqueeze(1)).clamp(min=1e-9)
    return (axes @ along.unsqueeze(-1)).squeeze(-1)
