"""Predictive distributions that are mixtures of normal distributions."""

import torch
from torch import Tensor

from ugmm.nn.regression.predictive import GaussianPredictive, Predictive, absolute_error

__all__ = ["MixturePredictive"]

_HALVINGS = {torch.float64: 60}  # of an interval that holds a quantile
_FEW_HALVINGS = 32


class MixturePredictive(Predictive):
    """A mixture of K normal distributions for each row.

    Arguments:
        log_weights: The logarithms of the components' weights, which add up to one, (..., K).
        mean: The components' means, (..., K).
        scale: Their standard deviations, positive, (..., K).
    """

    def __init__(self, log_weights: Tensor, mean: Tensor, scale: Tensor) -> None:
        self.log_weights = log_weights
        self.components = GaussianPredictive(mean, scale)

    @property
    def mean(self) -> Tensor:
        """See `Predictive.mean`."""
        return self._average(self.components.mean)

    @property
    def variance(self) -> Tensor:
        """See `Predictive.variance`."""
        off = self.components.mean - self.mean.unsqueeze(-1)
        return self._average(self.components.variance + off.square())

    def log_prob(self, y: Tensor) -> Tensor:
        """See `Predictive.log_prob`."""
        return (self.log_weights + self.components.log_prob(y.unsqueeze(-1))).logsumexp(-1)

    def cdf(self, y: Tensor) -> Tensor:
        """See `Predictive.cdf`."""
        return self._average(self.components.cdf(y.unsqueeze(-1)))

    @torch.no_grad()
    def quantile(self, p: Tensor | float) -> Tensor:
        """See `Predictive.quantile`; found by bisection, so that it keeps no graph.

        It lies between the least and the greatest of the components' own quantiles.
        """
        own = self.components.quantile(p.unsqueeze(-1) if isinstance(p, Tensor) else p)
        p = torch.as_tensor(p, dtype=self.log_weights.dtype, device=self.log_weights.device)
        low, high = own.amin(-1), own.amax(-1)
        for _ in range(_HALVINGS.get(p.dtype, _FEW_HALVINGS)):
            middle = low + 0.5 * (high - low)
            below = self.cdf(middle) < p
            low, high = low.where(~below, middle), high.where(below, middle)
        return low.where(~middle.isfinite(), low + 0.5 * (high - low))  # for p of 0 and 1

    def crps(self, y: Tensor) -> Tensor:
        """See `Predictive.crps`; closed form of E. Grimit et al., QJRMS 132 (2006)."""
        mean, variance, weights = self.components.mean, self.components.variance, self._weights
        error = absolute_error(y.unsqueeze(-1) - mean, self.components.scale)
        apart = absolute_error(
            mean.unsqueeze(-1) - mean.unsqueeze(-2),
            (variance.unsqueeze(-1) + variance.unsqueeze(-2)).sqrt(),
        )
        spread = (weights.unsqueeze(-1) * weights.unsqueeze(-2) * apart).sum((-2, -1))
        return (weights * error).sum(-1) - 0.5 * spread

    def scaled(self, mean: Tensor | float, std: Tensor | float) -> "MixturePredictive":
        """See `Predictive.scaled`."""
        mean, std = (t.unsqueeze(-1) if isinstance(t, Tensor) else t for t in (mean, std))
        scaled = self.components.scaled(mean, std)
        return MixturePredictive(self.log_weights, scaled.mean, scaled.scale)

    @property
    def _weights(self) -> Tensor:
        return self.log_weights.exp()

    def _average(self, values: Tensor) -> Tensor:
        return (self._weights * values).sum(-1)
