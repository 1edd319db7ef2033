"""What is measured of predicted distributions of a number, added up batch by batch.

All are sums over rows, and so the same however rows are divided into batches and among ranks.
"""

import math

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ugmm.answers import LEVEL
from ugmm.nn import Predictive
from ugmm.tasks.measures import Lines, Mean

__all__ = ["Predictions", "RSquared", "set_units", "split_metrics", "update_metrics"]


class _InUnits(Mean):
    """A mean over rows in model units, told in the user's.

    Attributes:
        factor: What it is multiplied by.
        offset: What is added afterwards.
    """

    factor = 1.0
    offset = 0.0

    def compute(self) -> Tensor:
        """Return the mean; NaN if there are none."""
        return self.factor * super().compute() + self.offset


class _RootMean(_InUnits):
    """The square root of a mean, likewise."""

    def compute(self) -> Tensor:
        """Return the root; NaN if there are none."""
        return self.factor * Mean.compute(self).sqrt()


class RSquared(Metric):
    r"""The share of the targets' variance that is predicted.

    :math:`1 - \sum_i (y_i - m_i)^2 / \sum_i (y_i - \bar y)^2` with the predicted means m; NaN
    where all targets are the same. Targets are standardised: their mean is near 0, and nothing is
    lost by summing squares.
    """

    off: Tensor
    total: Tensor
    square: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("off", "total", "square", "count"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, mean: Tensor, y: Tensor) -> None:
        """Add predicted means and targets, (batch,)."""
        mean, y = mean.to(self.off), y.to(self.off)
        self.off += (y - mean).square().sum()
        self.total += y.sum()
        self.square += y.square().sum()
        self.count += y.numel()

    def compute(self) -> Tensor:
        """Return the share; it is negative where the mean of the targets predicts better."""
        spread = self.square - self.total.square() / self.count
        return 1 - self.off / spread.where(spread > 0, math.nan)


class Predictions(Lines):
    """What the pictures of a test are drawn from: a line of five numbers for each row.

    They are the target, the predicted mean, the ends of the central interval that holds 90%, and
    the probability that was predicted of a target no larger (the PIT).
    """

    def update(self, predictive: Predictive, y: Tensor) -> None:  # type: ignore[override]
        """Add predictions for a batch, and its targets."""
        low, high = predictive.interval(LEVEL)
        columns = y, predictive.mean, low, high, predictive.cdf(y)
        super().update(torch.stack([column.to(low) for column in columns], -1))


def split_metrics(split: str, *, has_density: bool) -> MetricCollection:
    """Return what is measured of predictions, such as `split/rmse`.

    Args:
        split: What rows they are for.
        has_density: Whether the predictions have one, whose logarithm is then measured too.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "r2": RSquared(),
        "rmse": _RootMean(),
        "mae": _InUnits(),
        "crps": _InUnits(),
        "coverage_90": Mean(),
    }
    if has_density:
        metrics["nlpd"] = _InUnits()
    return MetricCollection(metrics, prefix=f"{split}/", compute_groups=False)


def set_units(metrics: MetricCollection, std: float) -> None:
    """Tell metrics what a unit of the model is in the user's units."""
    for name in ("rmse", "mae", "crps"):
        metrics[name].factor = std
    if "nlpd" in metrics.keys(keep_base=True):
        metrics["nlpd"].offset = math.log(std)


def update_metrics(metrics: MetricCollection, predictive: Predictive, y: Tensor) -> None:
    """Add predictions for a batch and its targets (batch,), in model units."""
    off = y - predictive.mean
    below = predictive.cdf(y)
    metrics["r2"].update(predictive.mean, y)
    metrics["rmse"].update(off.square())
    metrics["mae"].update(off.abs())
    metrics["crps"].update(predictive.crps(y))
    metrics["coverage_90"].update((below - 0.5).abs() <= LEVEL / 2)
    if "nlpd" in metrics.keys(keep_base=True):
        metrics["nlpd"].update(-predictive.log_prob(y))
