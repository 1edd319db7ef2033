"""Running one experiment: train, test, draw, write down."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import Logger, WandbLogger

from ugmm.data import InMemoryDataModule
from ugmm.errors import UserError
from ugmm.experiment.checkpoint import Stamp, load_network, read_checkpoint
from ugmm.experiment.compose import read_config
from ugmm.experiment.config import GOALS, Config, options
from ugmm.experiment.launch import open_run, rank, stops_cleanly
from ugmm.experiment.metrics_csv import MetricsCSV
from ugmm.experiment.tracking import log_results, tracked
from ugmm.experiment.trainer import check_hardware, make_trainer
from ugmm.report import draw_run
from ugmm.runs import Run
from ugmm.tasks import Task

__all__ = ["evaluate", "resume", "start"]

_INIT_ROWS = 1000  # of the training data, for an initialisation that looks at it


def start(config: Config) -> tuple[Run, dict[str, float]]:
    """Run an experiment in a new folder, or in the one that this process's launch already has.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    check_hardware(config.trainer)
    build(config)  # complains before there is a folder
    run, config = open_run(config)
    return run, execute(config, run)


def resume(folder: str | Path) -> tuple[Run, dict[str, float]]:
    """Continue an interrupted run from its last checkpoint, with its frozen configuration.

    Raises:
        UserError: If the folder holds no run, or its checkpoint cannot be used.
    """
    run = Run.open(folder)
    config = read_config(run.config)
    check_hardware(config.trainer)
    return run, execute(config, run)


def build(config: Config) -> tuple[InMemoryDataModule, Task]:
    """Return the data module and the task of an experiment, with freshly drawn parameters.

    Raises:
        UserError: If the configuration asks for what they refuse.
    """
    seed_everything(config.seed, verbose=False)
    data = config.data.build(config.seed)
    try:
        network = config.task.network(config.model, data.n_features, data.n_classes)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    task = config.task.build(
        network,
        data.n_classes,
        optimizer={"name": config.optimizer.name, **options(config.optimizer)},
        schedule={"name": config.schedule.name, **options(config.schedule)},
    )
    return data, task


def execute(config: Config, run: Run) -> dict[str, float]:
    """Train from the last checkpoint, if there is one, then test, draw and write the summary.

    Returns:
        The summary, on the leading process; on others, what they tested.
    """
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    data, task = build(config)
    checkpoint = read_checkpoint(run.last) if run.last.is_file() else None
    if checkpoint is not None:
        load_network(task.network, run.last)
    leads = rank() == 0
    with stops_cleanly(run), tracked(config, run, enabled=leads) as tracked_run:
        epoch = checkpoint["epoch"] + 1 if checkpoint else 0
        loggers: list[Logger] = [MetricsCSV(run, epoch)]
        if tracked_run is not None:
            loggers.append(WandbLogger(experiment=tracked_run))
        stamp = Stamp(config, data.n_features, data.n_classes)
        trainer = make_trainer(config, run, stamp, loggers)
        began = time.perf_counter()
        _fit(trainer, task, data, config, run.last if checkpoint else None)
        seconds = time.perf_counter() - began
        results = _test(trainer, task, data, config, run)
        if not leads:
            return results
        summary = {
            **_validation(run, config),
            **results,
            "seconds": round(seconds, 2),
            "steps": trainer.global_step,
            "parameters": sum(p.numel() for p in task.network.parameters()),
        }
        run.write_summary(summary)
        plots = draw_run(
            run,
            task.network,
            task.test_record,
            title=" ".join(dict.fromkeys((config.experiment, config.name))),
            x=data.splits["train"].x,
            class_names=data.class_names,
            feature_names=data.feature_names,
            image_shape=data.image_shape,
        )
        if tracked_run is not None:
            best = _tested(run, config) if config.tracking.log_model else None
            log_results(tracked_run, summary, plots, best)
    return summary


def evaluate(folder: str | Path) -> dict[str, float]:
    """Test a run's checkpoint again, on one device; writes nothing.

    Raises:
        UserError: If the folder, its configuration or its checkpoint cannot be used.
    """
    run = Run.open(folder)
    config = read_config(run.config)
    data, task = build(config)
    load_network(task.network, _tested(run, config))
    trainer = Trainer(
        accelerator="auto",  # perhaps another machine than the one it was trained on
        devices=1,
        precision=config.trainer.precision,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return _floats(trainer.test(task, data, verbose=False)[0])


def _fit(
    trainer: Trainer, task: Task, data: InMemoryDataModule, config: Config, last: Path | None
) -> None:
    if last is None and getattr(config.model, "init", None) == "data":
        data.prepare_data()
        data.setup("fit")
        x, y = data.splits["train"]
        task.network.init_from(x[:_INIT_ROWS], y[:_INIT_ROWS])
    trainer.fit(task, data, ckpt_path=last, weights_only=True)


def _test(
    trainer: Trainer, task: Task, data: InMemoryDataModule, config: Config, run: Run
) -> dict[str, float]:
    """Test once, with the weights of the checkpoint that the validation chose."""
    path = None if config.trainer.fast_dev_run else _tested(run, config)
    return _floats(trainer.test(task, data, ckpt_path=path, weights_only=True, verbose=False)[0])


def _tested(run: Run, config: Config) -> Path:
    return run.best if config.trainer.test_checkpoint == "best" else run.last


def _validation(run: Run, config: Config) -> dict[str, float]:
    """Return the validation metrics of the tested checkpoint, and its epoch."""
    monitor = config.trainer.monitor
    rows = [row for row in run.read_metrics() if row.get(monitor) is not None]
    if not rows:
        return {}
    if config.trainer.test_checkpoint == "last":
        row = rows[-1]
    else:
        sign = 1 if GOALS[monitor.removeprefix("val/")] == "max" else -1
        row = max(rows, key=lambda row: sign * (row[monitor] or 0.0))
    values = _floats({name: value for name, value in row.items() if name.startswith("val/")})
    return {**values, "tested_epoch": 1 + (row["epoch"] or 0.0)}


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if value is not None}
