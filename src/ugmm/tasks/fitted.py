"""A model that is fitted at once, in the place of one that is trained."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ugmm.errors import UserError
from ugmm.nn import Classifier
from ugmm.tasks.classification import ClassificationTask
from ugmm.tasks.measures import Mean
from ugmm.tasks.task import Batch

__all__ = ["FittedTask"]


class FittedTask(ClassificationTask):
    """Fits its network to all training rows before the first epoch, which then does nothing.

    Validation and test also log `log_prob`, the mean of log p(x, y) in nats.

    Arguments:
        network: A density with `init_from`.
        n_classes: Number of classes.
        training: Optimiser and schedule, of which there is no use.
    """

    def __init__(
        self, network: Classifier | Mapping[str, Any], n_classes: int, **training: Any
    ) -> None:
        super().__init__(network, n_classes, **training)
        self.automatic_optimization = False
        for metrics in (self.val_metrics, self.test_metrics):
            metrics.add_metrics({"log_prob": Mean()})

    def prepare(self, x: Tensor, y: Tensor) -> None:
        """Fit.

        Raises:
            UserError: If the rows do not allow it.
        """
        try:
            self.network.init_from(x, y)
        except ValueError as error:
            raise UserError(f"the model cannot be fitted: {error}") from error

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean of -log p(x, y), which nothing follows from."""
        return -self.network(x, y).mean()

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        """Nothing: all is fitted."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Nothing."""
        return None
