"""Predictive distributions that are known by some of their quantiles."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from ugmm.nn.regression.predictive import Predictive

__all__ = ["QuantilePredictive", "check_levels"]


class QuantilePredictive(Predictive):
    """A distribution for each row, of which L quantiles are given.

    Between two of them its probability is spread evenly, so that its quantiles are interpolated.
    Below the least and above the greatest it goes on as beside them, until all probability is
    spent: its tails are as short as that, and where they matter there should be levels near 0 and
    1. Values that cross are put in order, which brings them nearer to the true quantiles
    (V. Chernozhukov, I. Fernández-Val and A. Galichon, Econometrica 78, 2010).

    Arguments:
        levels: Which quantiles, increasing and between 0 and 1; two or more.
        values: They, (..., L).

    Raises:
        ValueError: If the levels are no such numbers.
    """

    has_density: ClassVar[bool] = False

    def __init__(self, levels: Sequence[float], values: Tensor) -> None:
        check_levels(levels)
        self.levels = tuple(levels)
        self.values = values.sort(-1).values

    @property
    def mean(self) -> Tensor:
        """See `Predictive.mean`."""
        low, high = self._ends
        return (self._shares * 0.5 * (low + high)).sum(-1)

    @property
    def variance(self) -> Tensor:
        """See `Predictive.variance`."""
        low, high = (end - self.mean.unsqueeze(-1) for end in self._ends)
        return (self._shares * (low.square() + low * high + high.square()) / 3).sum(-1)

    def cdf(self, y: Tensor) -> Tensor:
        """See `Predictive.cdf`."""
        low, high = self._ends
        y, width = y.unsqueeze(-1), high - low
        inside = ((y - low) / width.where(width > 0, 1)).clamp(0, 1)
        return (self._shares * inside.where(width > 0, (y >= low).to(y.dtype))).sum(-1)

    def quantile(self, p: Tensor | float) -> Tensor:
        """See `Predictive.quantile`."""
        low, high = self._ends
        p = torch.as_tensor(p, dtype=low.dtype, device=low.device).unsqueeze(-1)
        start = self._edges[:-1]
        gone = ((p - start) / self._shares).clamp(0, 1)
        return low[..., 0] + (gone * (high - low)).sum(-1)

    def crps(self, y: Tensor) -> Tensor:
        """See `Predictive.crps`; exact for the distribution that is spread so."""
        low, high = self._ends
        y, shares, middle = y.unsqueeze(-1), self._shares, 0.5 * (low + high)
        width = high - low
        within = ((y - low).square() + (high - y).square()) / (2 * width.where(width > 0, 1))
        is_in = (low < y) & (y < high)
        error = (shares * within.where(is_in, (y - middle).abs())).sum(-1)
        apart = (middle.unsqueeze(-1) - middle.unsqueeze(-2)).abs()
        spread = (shares.unsqueeze(-1) * shares * apart).sum((-2, -1))
        spread = spread + (shares.square() * width).sum(-1) / 3
        return error - 0.5 * spread

    def pinball(self, y: Tensor) -> Tensor:
        r"""Return the pinball loss at y, the mean over the levels, (...).

        For a level :math:`\tau` and its value q it is
        :math:`\max(\tau (y - q), (\tau - 1) (y - q))`, which the true quantile minimises in
        expectation (R. Koenker and G. Bassett, Econometrica 46, 1978).
        """
        off = y.unsqueeze(-1) - self.values
        levels = self.values.new_tensor(self.levels)
        return torch.maximum(levels * off, (levels - 1) * off).mean(-1)

    def scaled(self, mean: Tensor | float, std: Tensor | float) -> "QuantilePredictive":
        """See `Predictive.scaled`."""
        mean, std = (t.unsqueeze(-1) if isinstance(t, Tensor) else t for t in (mean, std))
        return QuantilePredictive(self.levels, mean + std * self.values)

    @property
    def _edges(self) -> Tensor:
        """Of the segments, in probability: (L + 2,)."""
        return self.values.new_tensor([0.0, *self.levels, 1.0])

    @property
    def _shares(self) -> Tensor:
        """The segments' probabilities, (L + 1,)."""
        return self._edges.diff()

    @property
    def _ends(self) -> tuple[Tensor, Tensor]:
        """Where each segment begins and ends, (..., L + 1) both."""
        shares, values = self._shares, self.values
        slopes = values.diff(dim=-1) / shares[1:-1]
        first = values[..., :1] - slopes[..., :1] * shares[0]
        last = values[..., -1:] + slopes[..., -1:] * shares[-1]
        knots = torch.cat([first, values, last], -1)
        return knots[..., :-1], knots[..., 1:]


def check_levels(levels: Sequence[float]) -> None:
    """Check the levels of quantiles.

    Raises:
        ValueError: If they are not two or more numbers between 0 and 1, increasing.
    """
    edges = [0.0, *levels, 1.0]
    if len(levels) < 2 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(
            f"levels must be two or more increasing numbers between 0 and 1, got {list(levels)}"
        )
