"""What a regression network predicts: a distribution of the target, not a number alone."""

import math
from abc import ABC, abstractmethod
from statistics import NormalDist
from typing import ClassVar, Self

import torch
from torch import Tensor

__all__ = ["GaussianPredictive", "Predictive", "absolute_error"]


class Predictive(ABC):
    """The distribution of a target y, one for each row of a batch of any shape.

    Every tensor that goes in or comes out has the shape of the batch, or broadcasts against it:
    `predictive.cdf(grid.unsqueeze(-1))` is (grid, batch).

    Attributes:
        has_density: Whether there is a `log_prob`.
    """

    has_density: ClassVar[bool] = True

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The expectation of y, (...)."""

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """The variance of y, (...)."""

    def log_prob(self, y: Tensor) -> Tensor:
        """Return the log-density at y, in nats.

        Raises:
            NotImplementedError: If the distribution has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no density; ask for its crps")

    @abstractmethod
    def cdf(self, y: Tensor) -> Tensor:
        """Return P(Y <= y): uniform over rows where the predictions are calibrated (the PIT)."""

    @abstractmethod
    def quantile(self, p: Tensor | float) -> Tensor:
        """Return where the distribution function reaches p, in [0, 1]."""

    @abstractmethod
    def crps(self, y: Tensor) -> Tensor:
        r"""Return the continuous ranked probability score, in the units of y; less is better.

        .. math::
            \int (F(t) - 1[y \le t])^2 \, dt = E|Y - y| - \tfrac12 E|Y - Y'|

        T. Gneiting and A. Raftery, JASA 102 (2007).
        """

    @abstractmethod
    def scaled(self, mean: Tensor | float, std: Tensor | float) -> Self:
        """Return the distribution of mean + std y, std > 0: y's own units, from model units."""

    def interval(self, level: float) -> tuple[Tensor, Tensor]:
        """Return the ends of the central interval that holds this share of the probability.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)


class GaussianPredictive(Predictive):
    """A normal distribution for each row.

    Arguments:
        mean: (...).
        scale: The standard deviations, positive, (...).
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self._mean = mean
        self.scale = scale

    @property
    def mean(self) -> Tensor:
        """See `Predictive.mean`."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """See `Predictive.variance`."""
        return self.scale.square()

    def log_prob(self, y: Tensor) -> Tensor:
        """See `Predictive.log_prob`."""
        z = (y - self.mean) / self.scale
        return -0.5 * z.square() - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, y: Tensor) -> Tensor:
        """See `Predictive.cdf`."""
        return torch.special.ndtr((y - self.mean) / self.scale)

    def quantile(self, p: Tensor | float) -> Tensor:
        """See `Predictive.quantile`."""
        if isinstance(p, float) and 0 < p < 1:  # a number, which a graph holds without ndtri
            return self.mean + self.scale * NormalDist().inv_cdf(p)
        p = torch.as_tensor(p, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.scale * torch.special.ndtri(p)

    def crps(self, y: Tensor) -> Tensor:
        """See `Predictive.crps`."""
        return absolute_error(y - self.mean, self.scale) - self.scale / math.sqrt(math.pi)

    def scaled(self, mean: Tensor | float, std: Tensor | float) -> "GaussianPredictive":
        """See `Predictive.scaled`."""
        return GaussianPredictive(mean + std * self.mean, std * self.scale)


def absolute_error(distance: Tensor, scale: Tensor) -> Tensor:
    r"""Return the expectation of :math:`|d + \sigma \epsilon|`, with :math:`\epsilon` N(0, 1)."""
    z = distance / scale
    density = (-0.5 * z.square()).exp() / math.sqrt(2 * math.pi)
    return 2 * scale * density + distance * (2 * torch.special.ndtr(z) - 1)
