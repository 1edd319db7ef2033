"""Training an experiment's network on given rows, without a run folder."""

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

from ugmm.config.schema import Config
from ugmm.data import InMemoryDataModule, Split
from ugmm.data.module import SplitName
from ugmm.errors import UserError
from ugmm.spec import Target
from ugmm.tasks import DiscriminativeTask, Task
from ugmm.training.build import build_task, prepare
from ugmm.training.callbacks import leave_out_idle_hooks
from ugmm.training.options.stopping import StopAtBest
from ugmm.training.trainer import leave_signals_alone, optional_callbacks, quieten

__all__ = ["RowsDataModule", "train"]


class RowsDataModule(InMemoryDataModule):
    """Rows in memory, served as they are; there is nothing to test on.

    Args:
        x: Features of training rows, (n, D).
        y: Their labels, (n,); or their targets, which are standardised.
        n_classes: Number of classes; 0 if there is a target.
        batch_size: See `InMemoryDataModule`.
        seed: See `InMemoryDataModule`.
        noise: See `InMemoryDataModule`.
        validation: Features and labels or targets of rows to validate on, by default none.
        keeps_missing: See `InMemoryDataModule`.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        n_classes: int,
        batch_size: int,
        seed: int,
        noise: float = 0.0,
        *,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        keeps_missing: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, noise=noise)
        self.n_features, self.n_classes = x.shape[1], n_classes
        self.class_names = tuple(map(str, range(n_classes)))
        self.target = None if n_classes else Target("target")
        self.keeps_missing = keeps_missing
        self.train_rows = self._as_split(x, y)
        held_out = (x[:0], y[:0]) if validation is None else validation
        self.validation_rows = self._as_split(*held_out)

    def load(self) -> dict[SplitName, Split]:
        """Return the rows."""
        x, y = self.train_rows
        return {
            "train": self.train_rows,
            "val": self.validation_rows,
            "test": Split(x[:0], y[:0]),
        }

    def _as_split(self, x: np.ndarray, y: np.ndarray) -> Split:
        labels = torch.tensor(y)
        return Split(torch.tensor(x).float(), labels.long() if self.n_classes else labels.double())


def train(config: Config, data: RowsDataModule, class_weights: np.ndarray | None = None) -> Task:
    """Train an experiment's network, and leave it in evaluation mode.

    It is that of the last epoch; or, with early stopping, of the best validation.

    Args:
        config: The resolved configuration; its data are those that are given.
        data: The rows.
        class_weights: By which the loss of a row is multiplied, for each class, (C,), in place of
            `task.class_weights`; by default, by nothing.

    Raises:
        UserError: If the configuration asks for what the network refuses.
    """
    has_validation = len(data.validation_rows.x) > 0
    if config.needs_validation and not has_validation:
        raise UserError(f"{config.needs_validation} needs validation rows: here are none")
    task = build_task(config, data)
    prepare(task, data, config)
    if class_weights is not None:
        assert isinstance(task, DiscriminativeTask)  # no other loss has weights
        task.weigh(torch.tensor(class_weights), data.train_rows.y)
    quieten()
    wanted = config.trainer
    trainer = Trainer(
        max_epochs=wanted.max_epochs,
        accelerator="cpu",
        devices=1,
        plugins=LightningEnvironment(),  # alone, whatever has started it
        precision=wanted.precision,
        gradient_clip_val=wanted.gradient_clip_val,
        accumulate_grad_batches=wanted.accumulate_grad_batches,
        callbacks=optional_callbacks(wanted, StopAtBest),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=None if has_validation else 0,
        check_val_every_n_epoch=min(wanted.check_val_every_n_epoch, wanted.max_epochs),
        num_sanity_val_steps=0,
    )
    leave_signals_alone(trainer)
    leave_out_idle_hooks(trainer, task)
    trainer.fit(task, data)
    task.eval()
    with torch.no_grad():
        task.on_test_epoch_start()  # where a density is normalised
    return task
