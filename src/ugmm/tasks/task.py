"""What every task shares: training a network, and measuring it batch by batch."""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MetricCollection

from ugmm.kernels.prepared import Prepared
from ugmm.nn import Network, Recorded
from ugmm.nn.mixture import prepared
from ugmm.nn.recipe import class_path
from ugmm.tasks.optimization import make_optimizer, make_schedule
from ugmm.tasks.remake import remake

__all__ = ["Batch", "Task"]

Batch = tuple[Tensor, Tensor]


class Task(Recorded, lightning.LightningModule, ABC):
    """What all tasks share: how a network is trained, and when it is measured.

    A class derived from it makes `val_metrics` and `test_metrics`, and defines `forward`, `loss`,
    `update` and `keep`. `trainer.predict` gives, for batches of (x, y), (x,) or x, what calling
    the task gives.

    The arguments are the task's hyper-parameters: `load_from_checkpoint` makes it, and the
    network, again from them.

    Arguments:
        network: What is trained; or how it was made, as in a checkpoint (`ugmm.nn.recipe`).
        optimizer: Keywords of `ugmm.tasks.optimization.make_optimizer`.
        schedule: Keywords of `ugmm.tasks.optimization.make_schedule`.

    Attributes:
        network_kind: What the network of a checkpoint must derive from.
        watched: What a validation measures of every such network, and is finite in training that
            goes well; less is better.
        val_metrics: Of the validation.
        test_metrics: Of the test.
        test_record: What pictures are drawn from, after a test.
    """

    network: Network
    network_kind: ClassVar[type[Network]] = Network
    watched: ClassVar[str]
    val_metrics: MetricCollection
    test_metrics: MetricCollection

    def __init__(
        self,
        network: Network | Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(self.init_args, logger=False)
        self.network = remake(network, self.network_kind, "network")
        self.optimizer = _without_numpy(optimizer or {})
        self.schedule = _without_numpy(schedule or {})
        self.trained: dict[str, Tensor] = {}  # what is known of the last step
        self.test_record: dict[str, Tensor] = {}
        self._kept: dict[nn.Module, Prepared] = {}  # from batch to batch of an evaluation

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, as a module does.

        Forty times in a step Lightning notes which hook is running: no parameter is looked for.
        """
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def prepare(self, x: Tensor, y: Tensor) -> None:
        """Look at the training rows (n, features), and their labels or targets (n,), once."""

    def labels(self, y: Tensor) -> Tensor:
        """Return what the network knows of labels or targets."""
        return y

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the training loss of a batch, a scalar."""

    @abstractmethod
    def update(self, metrics: MetricCollection, batch: Batch) -> tuple[Any, Tensor]:
        """Add a batch to a split's metrics; return what is predicted, and what is true."""

    @abstractmethod
    def keep(self, predicted: Any, y: Tensor) -> None:
        """Keep what the pictures of a test need of a batch; both are what `update` returned."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Return the loss of a batch."""
        loss = self.loss(*batch)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.trained = {"train/loss": loss.detach(), "lr": torch.as_tensor(rate)}
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Log the loss of a step and its learning rate, if that is read.

        It is by the loggers every so many steps, and by callbacks at the end of an epoch.
        """
        trainer, is_last = self.trainer, self.trainer.is_last_batch
        if not (is_last or (batch_idx + 1) % trainer.accumulate_grad_batches == 0):
            return
        logged = trainer.global_step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if self.trained and (logged or is_last):
            loss = trainer.strategy.reduce(self.trained["train/loss"], reduce_op="mean")
            self.record({**self.trained, "train/loss": loss}, logged=logged)

    def record(self, metrics: Mapping[str, Tensor], *, logged: bool = True) -> None:
        """Give metrics of the training to callbacks and, if they are to be logged, to the loggers.

        At once, and in a fraction of the time of Lightning's `log`, which for a small network is
        as long as a step.
        """
        self.trainer.callback_metrics.update(metrics)
        for logger in self.loggers if logged else ():
            row = {name: float(value) for name, value in metrics.items()}
            logger.log_metrics({**row, "epoch": self.current_epoch}, self.global_step - 1)

    def on_validation_start(self) -> None:
        """Forget what an evaluation that was interrupted has prepared."""
        self._kept = {}

    def on_test_start(self) -> None:
        """Do the same."""
        self._kept = {}

    def on_test_end(self) -> None:
        """Forget what was prepared."""
        self._kept = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: nothing is prepared of its parameters."""
        return {**super().__getstate__(), "_kept": {}}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation metrics."""
        with prepared(self.network, self._kept):  # until the end its parameters do not change
            self.update(self.val_metrics, batch)
        if batch_idx == 0:  # Lightning looks at them when all batches have been
            self.log_dict(self.val_metrics, prog_bar=True, batch_size=len(batch[1]))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the test metrics."""
        with prepared(self.network, self._kept):
            predicted, y = self.update(self.test_metrics, batch)
        self.keep(predicted, y)
        if batch_idx == 0:
            self.log_dict(self.test_metrics, batch_size=len(y))

    def predict_step(
        self,
        batch: Any,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> Tensor:
        """Return what calling the task gives; labels or targets, if there are any, are left."""
        return self(batch[0] if isinstance(batch, tuple | list) else batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say of which task this is a checkpoint."""
        checkpoint["task"] = class_path(type(self))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and its schedule, advanced at every step, or every validation."""
        # A fused optimiser unscales float16 gradients itself, too late for them to be clipped.
        fused = self.trainer.precision != "16-mixed"
        optimizer = make_optimizer(self.network, **self.optimizer, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        per_epoch = math.ceil(steps / max(1, self.trainer.max_epochs or 1))
        schedule = make_schedule(optimizer, steps, per_epoch, **self.schedule)
        if schedule is None:
            return optimizer
        described: Any = {"scheduler": schedule, "name": "lr", "interval": "step"}
        if isinstance(schedule, ReduceLROnPlateau):
            # Never by Lightning, which advances it after the epoch's checkpoint has been saved.
            described |= {"interval": "epoch", "frequency": sys.maxsize, "monitor": self.watched}
        return {"optimizer": optimizer, "lr_scheduler": described}

    def on_validation_end(self) -> None:
        """Forget what was prepared; advance the schedule of a plateau."""
        self._kept = {}
        if self.trainer.state.fn != "fit" or self.trainer.sanity_checking:
            return
        for each in self.trainer.lr_scheduler_configs:
            if isinstance(each.scheduler, ReduceLROnPlateau):
                monitor = self.schedule.get("monitor", self.watched)
                each.scheduler.step(float(self.trainer.callback_metrics[monitor]))


def _without_numpy(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords with numbers of Python: a checkpoint that may hold others runs code."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in keywords.items()}
