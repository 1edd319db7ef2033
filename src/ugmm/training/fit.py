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
from ugmm.tasks import ClassificationTask
from ugmm.training.build import build_task, prepare
from ugmm.training.callbacks import leave_out_idle_hooks
from ugmm.training.trainer import optional_callbacks, quieten

__all__ = ["RowsDataModule", "train"]


class RowsDataModule(InMemoryDataModule):
    """Training rows in memory, served as they are; there is nothing to validate or test on.

    Args:
        x: Features, (n, D).
        y: Labels, (n,).
        n_classes: Number of classes.
        batch_size: See `InMemoryDataModule`.
        seed: See `InMemoryDataModule`.
        noise: See `InMemoryDataModule`.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        n_classes: int,
        batch_size: int,
        seed: int,
        noise: float = 0.0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, noise=noise)
        self.n_features, self.n_classes = x.shape[1], n_classes
        self.class_names = tuple(map(str, range(n_classes)))
        self.train_rows = Split(torch.tensor(x).float(), torch.tensor(y).long())

    def load(self) -> dict[SplitName, Split]:
        """Return the rows."""
        x, y = self.train_rows
        return {"train": self.train_rows, "test": Split(x[:0], y[:0])}


def train(config: Config, data: RowsDataModule) -> ClassificationTask:
    """Train an experiment's network to its last epoch, and leave it in evaluation mode.

    Raises:
        UserError: If the configuration asks for what the network refuses, or has no classes.
    """
    if config.needs_validation:
        raise UserError(f"{config.needs_validation} needs validation rows: here are none")
    task = build_task(config, data)
    assert isinstance(task, ClassificationTask)  # as the data has classes
    prepare(task, data, config)
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
        callbacks=optional_callbacks(wanted),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    leave_out_idle_hooks(trainer, task)
    trainer.fit(task, data)
    task.eval()
    with torch.no_grad():
        task.on_test_epoch_start()  # where a density is normalised
        if task.network.class_scores(data.train_rows.x[:1]).shape[-1] != data.n_classes:
            raise UserError(
                "this experiment models no label (task.label=none): nothing to compare"
            )
    return task
