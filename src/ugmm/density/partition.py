"""Two estimates of a partition function, each with its error."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.density.gaussian import GaussianMixture
from ugmm.nn.checks import check_positive

__all__ = ["Estimate", "by_importance", "by_sobol"]

_CHUNK = 2**14  # draws that are computed together
_SCRAMBLES = 16  # independent randomisations of the Sobol points

LogWeight = Callable[[Tensor], Tensor]


class Estimate(NamedTuple):
    """An estimate of log Z.

    Attributes:
        value: log Z, in nats.
        error: Its standard error.
        effective: The effective sample size as a share of the draws: (mean w)^2 / mean w^2.
    """

    value: float
    error: float
    effective: float

    def agrees_with(self, other: "Estimate", errors: float = 4.0) -> bool:
        """Return whether two estimates differ by at most `errors` times their joint error."""
        joint = math.hypot(self.error, other.error)
        return abs(self.value - other.value) <= errors * joint + 1e-6  # false for a NaN


@torch.no_grad()
def by_importance(
    log_weight: LogWeight, proposal: GaussianMixture, n: int, seed: int = 0
) -> Estimate:
    r"""Estimate :math:`Z = \int \tilde p(x) dx` by importance sampling.

    .. math::
        \hat Z = \frac1n \sum_i w_i, \qquad w_i = \tilde p(x_i) / q(x_i), \; x_i \sim q

    Each part of q has its exact share of the draws, one part after the other, so that what the
    parts' means differ by adds nothing to the error: it is estimated from differences of
    neighbours, which come from one part.

    Args:
        log_weight: Maps draws (m, D) to :math:`\log w`, (m,).
        proposal: q.
        n: Number of draws, at least 2.
        seed: Seed of the draws.
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, for an error, got {n}")
    generator = torch.Generator().manual_seed(seed)
    logs = [log_weight(proposal.sample(m, generator)).double() for m in _chunks(n)]
    log_w = torch.cat(logs)
    value = log_w.logsumexp(0) - math.log(n)
    ratio = (log_w - value).exp()  # w / mean w
    pairs = ratio[: n // 2 * 2].reshape(-1, 2)
    error = pairs.diff().square().mean().div(2 * n).sqrt()
    return Estimate(float(value), float(error), float(1 / ratio.square().mean()))


@torch.no_grad()
def by_sobol(log_weight: LogWeight, proposal: GaussianMixture, n: int, seed: int = 0) -> Estimate:
    """Estimate the same integral from scrambled Sobol points, mapped to draws of the proposal.

    The error is that of the mean over independent scramblings.

    Args:
        log_weight: See `by_importance`.
        proposal: q; the first coordinate of a point chooses the part that it is drawn from.
        n: Number of points, in all scramblings together.
        seed: Seed of the scramblings.
    """
    check_positive(n=n)
    width = len(proposal.parts[0].mean) + 1  # type: ignore[arg-type]
    each = max(1, n // _SCRAMBLES)
    values, effective = [], []
    for index in range(_SCRAMBLES):
        engine = torch.quasirandom.SobolEngine(width, scramble=True, seed=seed * 1000 + index)
        logs = []
        for m in _chunks(each):
            points = engine.draw(m, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
            normal = math.sqrt(2) * torch.erfinv(2 * points[:, 1:] - 1)
            device = proposal.shares.device
            logs.append(log_weight(proposal.place(points[:, 0].to(device), normal.to(device))))
        log_w = torch.cat(logs).double()
        values.append(log_w.logsumexp(0) - math.log(each))
        ratio = (log_w - values[-1]).exp()
        effective.append(1 / ratio.square().mean())
    log_z = torch.stack(values)
    value = log_z.logsumexp(0) - math.log(_SCRAMBLES)
    error = (log_z - value).exp().std() / math.sqrt(_SCRAMBLES)
    return Estimate(float(value), float(error), float(torch.stack(effective).mean()))


def _chunks(n: int) -> Iterator[int]:
    for start in range(0, n, _CHUNK):
        yield min(_CHUNK, n - start)
