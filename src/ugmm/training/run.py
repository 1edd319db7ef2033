"""Running one experiment: train, test, draw, write down."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ugmm.checkpoints import restore
from ugmm.cluster.lock import holding
from ugmm.cluster.peers import in_touch
from ugmm.cluster.preemption import requeuing
from ugmm.cluster.processes import is_leading, launch_id, share_folder, tell_children
from ugmm.cluster.signals import closing_cleanly, putting_off
from ugmm.config.choices.plugins import plugin_options, plugin_records
from ugmm.config.frozen import read_config, to_yaml
from ugmm.config.schema import Config
from ugmm.data import InMemoryDataModule, MNISTDataModule
from ugmm.errors import UserError
from ugmm.loading import read_for, tested_checkpoint
from ugmm.report import draw_run
from ugmm.runs import Confusion, Run
from ugmm.tasks import ClassificationTask, Task
from ugmm.terminal import say, warn
from ugmm.tracking.mode import asked_mode
from ugmm.training.build import build, prepare, some_rows
from ugmm.training.callbacks import leave_out_idle_hooks
from ugmm.training.metrics_csv import MetricsCSV
from ugmm.training.predictions import write_predictions
from ugmm.training.progress import make_progress
from ugmm.training.resuming import find_best, find_validation, read_last, read_matching
from ugmm.training.saving.checkpoint import StampCheckpoints
from ugmm.training.saving.last import name_place
from ugmm.training.trainer import check_hardware, make_trainer, quieten
from ugmm.writing import WriteError, sweep

if TYPE_CHECKING:
    import wandb

__all__ = ["evaluate", "resume", "start", "start_or_resume", "test_alone"]

Show = Callable[[dict[str, float], Confusion | None], None]


def _show_nothing(summary: dict[str, float], confusion: Confusion | None) -> None:
    """Leave it at what is written down."""


def start(
    config: Config, overrides: Sequence[str] = (), show: Show = _show_nothing
) -> tuple[Run, dict[str, float]]:
    """Run an experiment in a new folder.

    Args:
        config: The resolved configuration.
        overrides: The command's settings, which other processes of the run were given too.
        show: Is given the summary and how often each class was taken for each, in the leading
            process, as soon as they are written: pictures take longer.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    check_hardware(config.trainer)
    build(config)  # complains before there is a folder
    run = Run.create(config.runs_dir, config.group, config.name, launch_id())
    run.freeze(to_yaml(config), plugin_records())
    share_folder(run, overrides)
    return run, execute(config, run, show)


def start_or_resume(config: Config, run_id: str) -> dict[str, float]:
    """Run an experiment in the folder that has this id: from its start, or from where it was left.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    check_hardware(config.trainer)
    build(config)
    run = Run.create(config.runs_dir, config.group, config.name, run_id)
    if not run.config.is_file():
        run.freeze(to_yaml(config), plugin_records())
    share_folder(run, ())
    return resume(run)


def resume(run: Run, show: Show = _show_nothing, settings: Sequence[str] = ()) -> dict[str, float]:
    """Continue a run from its last checkpoint, with its frozen configuration.

    A run that has ended is left as it is.

    Args:
        run: The run.
        show: See `start`.
        settings: The command's, of other hardware than it began on: trainer.devices=4.

    Raises:
        RunInUseError: If another process is at it.
        UserError: If its configuration or checkpoint cannot be used.
    """
    if run.has_ended and not settings:  # which may be refused
        return _ended(run, show)
    config = read_config(run, settings)
    check_hardware(config.trainer)
    tell_children(run)
    return execute(config, run, show)


def _ended(run: Run, show: Show) -> dict[str, float]:
    summary = run.read_summary()
    if is_leading():
        show(summary, run.read_confusion())
    return summary


def execute(config: Config, run: Run, show: Show = _show_nothing) -> dict[str, float]:
    """Train from the last checkpoint, if there is one, then test, write the summary and draw.

    Returns:
        The summary, on the leading process; on others, what they tested.
    """
    try:
        # The other processes of a launch work under the lock of the leading one.
        with (
            holding(run) if is_leading() else nullcontext(),
            in_touch(f"go on with: {_resume_command(run)}"),
        ):
            # It may have ended while this process was starting.
            return _ended(run, show) if run.has_ended else _execute(config, run, show)
    except MisconfigurationException as error:
        raise UserError(f"Lightning refuses the settings of {run.folder}: {error}") from error
    except WriteError as error:
        raise error.going_on(f"go on with: {_resume_command(run)}") from error


def _resume_command(run: Run) -> str:
    """Return the command that goes on with a run, in the folder that this one was started in."""
    return shlex.join(["ugmm", "train", "--resume", str(run.folder), *plugin_options()])


def _tracked(config: Config, run: Run) -> AbstractContextManager["wandb.Run | None"]:
    """Track a run in W&B while the body runs, if that is wanted: see `ugmm.tracking.session`."""
    if not is_leading() or asked_mode(config.tracking.mode)[0] == "disabled":
        return nullcontext()
    from ugmm.tracking.session import tracked

    return tracked(config, run)


def _execute(config: Config, run: Run, show: Show) -> dict[str, float]:
    data, task = build(config)
    if is_leading():
        sweep(run.folder)
        if data.description:
            say(data.description)
    last = read_last(run, config, data, task)
    best = find_best(run, config, task, last) if last else None
    epochs, steps = (last.epochs, last.steps) if last else (0, None)  # that are done
    if last is not None and is_leading():
        say(f"going on after {name_place(epochs, steps)}")
    with (
        closing_cleanly(_resume_command(run)),
        requeuing(),
        # Without the rows of work that will be done again; before W&B is told of the others.
        closing(MetricsCSV(run, epochs, steps)) as metrics,
        _tracked(config, run) as tracked_run,
    ):
        loggers: list[Logger] = [metrics]
        if tracked_run is not None:
            from ugmm.training.wandb_logger import LenientWandbLogger

            loggers.append(LenientWandbLogger(experiment=tracked_run))
        before = last.stamp.seconds if last else 0.0
        stamp = StampCheckpoints(config, data, run.read_environment().get("run_id"), before)
        trainer = make_trainer(config, run, stamp, loggers, best)
        leave_out_idle_hooks(trainer, task)
        if tracked_run is not None:
            tracked_run.config.update({"world_size": trainer.world_size}, allow_val_change=True)
        prepare(task, data, config)  # for a resumed run too, whose checkpoint replaces the weights
        if is_leading():
            run.write_spec(data.spec.to_json())
            run.write_rows(some_rows(data.splits["train"], config.seed))
        with nullcontext() if config.trainer.fast_dev_run else putting_off():
            trainer.fit(task, data, ckpt_path=last.path if last else None, weights_only=True)
        seconds = round(stamp.seconds(), 2)
        results = _test(trainer, task, data, config, run)
        if not is_leading():
            return results
        results |= _robustness(task, data, config)
        results["seconds"] = seconds
        results["steps"] = trainer.global_step
        results["parameters"] = task.network.n_parameters()
        results["train_rows"] = len(data.splits["train"].x)
        write_predictions(run, trainer, task, data)
        if (confusion := _confusion(task, data)) is not None:
            run.write_confusion(*confusion)
        with suppress(OSError):  # a disk too full for this will tell of it below
            run.undrawn.touch()
        run.write_summary(results)  # whatever becomes of the pictures
        show(results, confusion)
        plots = _draw(run, task, data, config, results)
        if tracked_run is not None:
            from ugmm.tracking.session import log_results

            tested = tested_checkpoint(run, config)
            wanted = config.tracking.log_model and tested.is_file()
            log_results(tracked_run, run, results, plots, tested if wanted else None)
    return results


def _draw(
    run: Run, task: Task, data: InMemoryDataModule, config: Config, results: dict[str, float]
) -> list[Path]:
    """Draw a run whose figures are safe; a full disk keeps its pictures out, and no more."""
    try:
        drawn = draw_run(
            run,
            task.network,
            task.test_record,
            title=" ".join(dict.fromkeys((config.experiment, config.name))),
            x=data.splits["train"].x,
            y=data.splits["train"].y,
            spec=data.spec,
            results=results,
            vector=config.plots.vector,
        )
    except WriteError as error:
        missing = error.going_on(f"draw them by: {_resume_command(run)}")
        warn(f"warning: the figures are written, but not all pictures: {missing}")
        return []
    run.undrawn.unlink(missing_ok=True)
    return drawn


def evaluate(
    run: Run, checkpoint: Path | None = None
) -> tuple[dict[str, float], Confusion | None]:
    """Test a run's checkpoint again, on one device; writes nothing.

    Args:
        run: The run.
        checkpoint: One of its checkpoints; by default, the one that was tested.

    Returns:
        What a summary holds of a test, and how often each class was taken for each; None in its
        place where no label is modelled.

    Raises:
        UserError: If the run's configuration or the checkpoint cannot be used.
    """
    config = read_config(run)
    data, task = build(config)
    path = checkpoint or tested_checkpoint(run, config)
    restore(task.network, read_matching(run, path, config, data))
    results, confusion = test_alone(task, data, config)
    return {**results, **_robustness(task, data, config)}, confusion


def test_alone(
    task: Task, data: InMemoryDataModule, config: Config
) -> tuple[dict[str, float], Confusion | None]:
    """Test a network as it is, on one device; see `evaluate` for what is returned."""
    quieten()
    trainer = Trainer(
        # Perhaps on another machine than the one it was trained on.
        accelerator="cpu" if config.trainer.accelerator == "cpu" else "auto",
        devices=1,
        plugins=LightningEnvironment(),  # alone, whatever has started it
        precision=config.trainer.precision,
        limit_test_batches=config.trainer.limit_test_batches,
        logger=False,
        callbacks=make_progress(),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return _floats(trainer.test(task, data, verbose=False)[0]), _confusion(task, data)


def _confusion(task: Task, data: InMemoryDataModule) -> Confusion | None:
    """Return the classes and counts of the test that has been run."""
    if "confusion" not in task.test_record:
        return None
    return list(data.class_names), task.test_record["confusion"].tolist()


def _robustness(task: Task, data: InMemoryDataModule, config: Config) -> dict[str, float]:
    """Test on images turned and half hidden too, if that is asked for."""
    if not getattr(config.data, "robustness", False):
        return {}
    from ugmm.training.robustness import score_robustness

    assert isinstance(data, MNISTDataModule)
    assert isinstance(task, ClassificationTask)
    return score_robustness(task.network, data)


def _test(
    trainer: Trainer, task: Task, data: InMemoryDataModule, config: Config, run: Run
) -> dict[str, float]:
    """Test once, with the checkpoint that the validation chose; return its validation too."""
    if config.trainer.fast_dev_run:
        return _floats(trainer.test(task, data, verbose=False)[0])
    path = tested_checkpoint(run, config)
    checkpoint = read_for(run, path, config)
    tested = trainer.test(task, data, ckpt_path=path, weights_only=True, verbose=False)[0]
    # The checkpoint's epoch may have no validation, if it is the last one.
    values = find_validation(run, checkpoint)
    return {**values, **_floats(tested), "tested_epoch": checkpoint.epoch + 1}


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
