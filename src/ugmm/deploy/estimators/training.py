"""Training within someone else's program: on given rows, and without a trace."""

import os
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from ugmm.config.choices.data import CSVConfig
from ugmm.config.choices.models import ModelConfig
from ugmm.config.choices.tasks import TaskConfig
from ugmm.config.schema import Config
from ugmm.config.training import (
    EarlyStoppingConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
)
from ugmm.errors import UserError

__all__ = ["make_config", "train_rows"]

_SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")  # where Lightning notes them
_lock = threading.RLock()  # the random states that training draws from are the process's
if hasattr(os, "register_at_fork"):  # torch's threads do not survive a fork, and it waits for them
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def make_config(
    name: str,
    model: ModelConfig,
    task: TaskConfig,
    *,
    seed: int,
    batch_size: int,
    noise: float = 0.0,
    learning_rate: float,
    weight_decay: float,
    max_epochs: int,
    monitor: Any,
    patience: int | None,
) -> Config:
    """Return the configuration of an estimator, as a run of the same training would have it.

    Args:
        name: Of the experiment.
        model: The model.
        task: What it is trained for.
        seed: Of all that is left to chance.
        batch_size: Rows in a step.
        noise: Standard deviation of Gaussian noise on standardised training features.
        learning_rate: The largest.
        weight_decay: Of AdamW.
        max_epochs: How often all rows are seen.
        monitor: What stops early, and chooses the best epoch.
        patience: After how many epochs without a better one; None for training without
            validation, whose learning rate falls to 0 at the last epoch.
    """
    schedule = ScheduleConfig() if patience else ScheduleConfig("one_cycle", warmup=0.2)
    return Config(
        experiment=name,
        data=CSVConfig(
            name="csv",
            path="",
            label=None if task.is_regression else "label",
            target="target" if task.is_regression else None,
            missing="keep",
            batch_size=batch_size,
            noise=noise,
        ),
        model=model,
        task=task,
        optimizer=OptimizerConfig("adamw", learning_rate, weight_decay),
        schedule=schedule,
        trainer=TrainerConfig(
            max_epochs=max_epochs,
            accelerator="cpu",
            devices=1,
            threads=1,  # more would wait for each other, and for those of other fits
            monitor=monitor,
            early_stopping=EarlyStoppingConfig(patience),
        ),
        seed=seed,
        group=name,
        name=name,
        variant=name,
    )


def train_rows(
    config: Config,
    x: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    class_weights: np.ndarray | None = None,
) -> Any:
    """Train on rows in model units; see `ugmm.training.fit.train`.

    Nothing is printed or written, and the states of random numbers, threads and warnings are left
    as they were. Fits in several threads of one process wait for one another.

    Args:
        config: From `make_config`.
        x: Features, (n, N), NaN where one is missing.
        y: Labels, from 0, or targets, (n,).
        n_classes: Number of classes; 0 for targets.
        validation: Rows to validate on.
        class_weights: See `ugmm.training.fit.train`.

    Returns:
        The `ugmm.tasks.Task`.

    Raises:
        ValueError: If it cannot be done.
    """
    with _lock, _undisturbed():
        from ugmm.training.fit import RowsDataModule, train

        data = RowsDataModule(
            x,
            y,
            n_classes,
            config.data.batch_size,
            config.seed,
            config.data.noise,  # type: ignore[attr-defined]  # a table's
            validation=validation,
            keeps_missing=True,
        )
        try:
            task = train(config, data, class_weights)
        except UserError as error:
            raise ValueError(str(error)) from error
    if not all(parameter.isfinite().all() for parameter in task.network.parameters()):
        raise ValueError("training diverged; set a lower learning_rate, or mend extreme values")
    return task


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave what belongs to the whole process as it was."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    states, threads = (random.getstate(), np.random.get_state()), torch.get_num_threads()  # noqa: NPY002
    seeds = {name: os.environ.get(name) for name in _SEEDS}
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_num_threads(threads)
        for name, value in seeds.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
