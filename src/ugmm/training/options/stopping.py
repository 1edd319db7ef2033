"""`trainer.early_stopping`: ending a run whose validation has stopped getting better."""

from copy import deepcopy

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from ugmm.report.tables import format_count
from ugmm.terminal import say

__all__ = ["StopAtBest", "StopEarly"]


class StopEarly(EarlyStopping):
    """Stop after some validations in a row that were no better than the best before them.

    What has been seen is in every checkpoint: a run that is resumed stops where it would have.

    Arguments:
        monitor: The metric that decides.
        goal: Whether the best is its minimum or its maximum.
        patience: How many validations.
        min_delta: By how much a better one must be better.
    """

    def __init__(self, monitor: str, goal: str, patience: int, min_delta: float) -> None:
        super().__init__(
            monitor,
            mode=goal,
            patience=patience,
            min_delta=min_delta,
            check_finite=False,  # NaN is no better than anything
            check_on_train_epoch_end=False,  # but at validations, which may be fewer
        )

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return self.wait_count >= self.patience

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Do no further epoch where the run had stopped before it was interrupted."""
        if self.is_over:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say it."""
        if self.is_over and trainer.is_global_zero:
            say(
                f"stopped early, after epoch {self.stopped_epoch + 1}: {self.monitor} was no "
                f"better in {format_count(self.patience, 'validation')}"
            )


class StopAtBest(StopEarly):
    """Stop likewise, without a word, and go back to the parameters of the best validation.

    They are kept in memory: for training that has no checkpoints.
    """

    best: dict[str, Tensor] | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the parameters if none before them was better."""
        super().on_validation_end(trainer, pl_module)
        if self.wait_count == 0:
            self.best = deepcopy(pl_module.network.state_dict())  # type: ignore[union-attr]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Bring the best ones back."""
        if self.best is not None:
            pl_module.network.load_state_dict(self.best)  # type: ignore[union-attr]
