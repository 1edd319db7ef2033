"""Training a network to predict a number, and how sure it is of it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import MetricCollection

from ugmm.nn import Predictive, Regressor
from ugmm.objectives import NegativeLogDensity, RegressionObjective
from ugmm.spec import Target
from ugmm.tasks.remake import remake
from ugmm.tasks.target_measures import Predictions, set_units, split_metrics, update_metrics
from ugmm.tasks.task import Batch, Task

__all__ = ["RegressionTask"]


class RegressionTask(Task):
    """A distribution of the target for each row, trained by a loss of it.

    Validation and test log `r2`, the share of the variance that the predicted means explain;
    `rmse`, `mae` and `crps` (see `ugmm.nn.Predictive.crps`) in the user's units; `coverage_90`,
    the share of the targets in the central intervals that should hold 90% of them; and, where
    predictions have a density, `nlpd`, the mean of -log p(y | x) in nats and the user's units. A
    test leaves `true`, `mean`, `low`, `high` and `pit` in `test_record`, (n,) each: see
    `ugmm.tasks.target_measures.Predictions`.

    The user's units are those of the trainer's data module, `target`; without one they are the
    model's.

    Arguments:
        network: Predicts distributions of the standardised target; see `Task`.
        objective: What is minimised; by default `ugmm.objectives.NegativeLogDensity`.
        optimizer: See `Task`.
        schedule: See `Task`.

    Raises:
        TypeError: If the network predicts no distributions.
    """

    network: Regressor
    network_kind = Regressor
    watched: ClassVar[str] = "val/crps"

    def __init__(
        self,
        network: Regressor | Mapping[str, Any],
        objective: RegressionObjective | Mapping[str, Any] | None = None,
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule)
        if not hasattr(self.network, "predictive"):
            raise TypeError(
                f"network must be a ugmm.nn.Regressor, and is a {type(self.network).__name__}: "
                "derive a class of your own from it"
            )
        self.objective: RegressionObjective = (
            remake(objective, RegressionObjective, "objective") or NegativeLogDensity()
        )
        self.val_metrics, self.test_metrics = (
            split_metrics(split, has_density=self.network.has_density) for split in ("val", "test")
        )
        self.predictions = Predictions()

    @property
    def target(self) -> Target:
        """What the number is that is predicted."""
        stated = getattr(self.trainer.datamodule, "target", None)  # type: ignore[attr-defined]
        return stated or Target("target")

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of each row's target, (...), in model units."""
        return self.network.predictive(x).mean

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the objective of a batch."""
        return self.objective.loss(self.network, x, y)

    def on_validation_epoch_start(self) -> None:
        """Tell the metrics what the user's units are."""
        set_units(self.val_metrics, self.target.std)

    def on_test_epoch_start(self) -> None:
        """Do the same."""
        set_units(self.test_metrics, self.target.std)

    def update(self, metrics: MetricCollection, batch: Batch) -> tuple[Predictive, Tensor]:
        """Add a batch to a split's metrics; return its predictions and its targets."""
        x, y = batch
        predictive = self.network.predictive(x)
        update_metrics(metrics, predictive, y)
        return predictive, y

    def keep(self, predicted: Predictive, y: Tensor) -> None:
        """Keep what was predicted of each row."""
        self.predictions.update(predicted, y)

    def on_test_epoch_end(self) -> None:
        """Gather, from all ranks, what was predicted, in the user's units."""
        lines = self.predictions.compute().cpu().double()
        self.predictions.reset()
        *numbers, pit = lines.unbind(-1)
        raw = (self.target.mean + self.target.std * column for column in numbers)
        self.test_record = dict(zip(("true", "mean", "low", "high"), raw, strict=True))
        self.test_record["pit"] = pit
