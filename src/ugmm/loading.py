"""From a run folder back to its network, without Lightning."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ugmm.checkpoints import Checkpoint, fill, read_checkpoint, read_content, restore
from ugmm.config.choices.plugins import use_plugins
from ugmm.config.frozen import from_yaml, read_config
from ugmm.config.schema import Config
from ugmm.errors import UserError
from ugmm.exported import is_export, read_export
from ugmm.nn import Classifier, Network, Regressor
from ugmm.runs import Run, locate
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork, TrainedRegressor

if TYPE_CHECKING:
    from ugmm.tasks import Task

__all__ = ["load", "load_network", "load_task", "read_for", "tested_checkpoint"]

Which = Literal["best", "last"] | None


def load(
    run: str | Path, checkpoint: Which = None, *, plugins: str | Path | Iterable[str | Path] = ()
) -> TrainedNetwork | TrainedRegressor:
    """Return the trained network of a run folder, which takes rows as the user has them.

    Of a run of a regression it is a `ugmm.trained.TrainedRegressor`.

    Args:
        run: The run folder; or one of its checkpoints, or a folder of runs, of which the newest is
            taken (see `ugmm.runs.locate`). Or what `ugmm export` made of one: a pt2 archive, or
            a folder of safetensors.
        checkpoint: Which one; by default, the one that was named or else tested.
        plugins: Files that declare what the run chose beside what comes with ugmm.

    Raises:
        UserError: If the folder, its configuration or its checkpoint cannot be used, or the run
            is from before it was saved what a row is.
    """
    use_plugins(plugins)
    if is_export(run):
        return _read_export(run, checkpoint)
    folder, config, saved = _read(run, checkpoint)
    spec = saved.spec
    if spec is None and (content := folder.read_spec()) is not None:
        spec = Spec.from_json(content)
    if spec is None:
        raise UserError(
            f"{run} does not say what its rows were, since an earlier version of ugmm trained it; "
            "train again, or take the bare network in its own units by "
            "ugmm.loading.load_network(run)"
        )
    rows = folder.read_rows()
    kept = None if rows is None else torch.from_numpy(rows)
    network = _build(config, saved)
    if isinstance(network, Regressor):
        return TrainedRegressor(network, spec, config, kept)
    assert isinstance(network, Classifier)
    return TrainedNetwork(network, spec, config, kept)


def load_network(
    run: str | Path, checkpoint: Which = None, *, plugins: str | Path | Iterable[str | Path] = ()
) -> Network:
    """Return the bare network of a run folder, in evaluation mode.

    It takes features in model units, as the run's data module serves them: standardised for
    tables, pixels in [0, 1] for MNIST. For rows as you have them, see `load`.

    Args:
        run: The run folder; or one of its checkpoints, or a folder of runs, of which the newest is
            taken (see `ugmm.runs.locate`).
        checkpoint: Which one; by default, the one that was named or else tested.
        plugins: Files that declare what the run chose beside what comes with ugmm.

    Raises:
        UserError: If the folder, its configuration or its checkpoint cannot be used.
    """
    use_plugins(plugins)
    if is_export(run):
        return _read_export(run, checkpoint).network
    _, config, saved = _read(run, checkpoint)
    return _build(config, saved)


def load_task(
    run: str | Path, checkpoint: Which = None, *, plugins: str | Path | Iterable[str | Path] = ()
) -> "Task":
    """Return the Lightning module of a run folder or of a checkpoint, in evaluation mode.

    It takes features in model units, as `load_network` says.

    Args:
        run: The run folder, or what else `load` takes; or a checkpoint of a Trainer of your own.
            Classes of your own that the latter needs must be imported already.
        checkpoint: Which one; by default, the one that was named or else tested.
        plugins: Files that declare what the run chose beside what comes with ugmm.

    Raises:
        UserError: If what is named cannot be used, or was saved by other classes than ours.
    """
    use_plugins(plugins)
    path = Path(run)
    if checkpoint is not None or not path.is_file():
        _, config, saved = _read(run, checkpoint)
        path, content = saved.path, saved.content
        task = _build_task(config, saved)
    elif "ugmm" in (content := read_content(path)):
        saved = read_checkpoint(path)
        task = _build_task(from_yaml(saved.stamp.config, str(path)), saved)
    else:
        task = _remake_task(content, path)
    task.on_load_checkpoint(content)
    fill(task, content["state_dict"], path)
    return task.eval()


def _read_export(run: str | Path, checkpoint: Which) -> TrainedNetwork | TrainedRegressor:
    if checkpoint is not None:
        raise UserError(f"{run} was exported, and has no checkpoints; name none")
    return read_export(run)


def _read(run: str | Path, checkpoint: Which) -> tuple[Run, Config, Checkpoint]:
    """Read a run's configuration and one of its checkpoints."""
    folder, named = locate(run)
    config = read_config(folder)
    by_default = named or tested_checkpoint(folder, config)
    paths = {None: by_default, "best": folder.best, "last": folder.last}
    if checkpoint not in paths:
        raise UserError(f"no checkpoint {checkpoint!r}; name 'best' or 'last', or none")
    return folder, config, read_for(folder, paths[checkpoint], config)


def _build(config: Config, saved: Checkpoint) -> Network:
    network = _fresh_network(config, saved)
    restore(network, saved)
    return network.eval()


def _build_task(config: Config, saved: Checkpoint) -> "Task":
    network = _fresh_network(config, saved)
    return config.task.build(network, saved.stamp.n_classes, **config.training())


def _fresh_network(config: Config, saved: Checkpoint) -> Network:
    return config.network(saved.stamp.n_features, saved.stamp.n_classes)


def _remake_task(checkpoint: Mapping[str, Any], path: Path) -> "Task":
    """Return the task of a checkpoint of another Trainer, with the weights that it began with."""
    from ugmm.tasks import Task
    from ugmm.tasks.remake import find_class

    named = checkpoint.get("task")
    cls, arguments = find_class(named, Task), checkpoint.get("hyper_parameters")
    if cls is None or not isinstance(arguments, Mapping):
        saved = f"is of a {named}, which is not imported" if named else "names no task of ugmm"
        raise UserError(
            f"{path} {saved}; import its module, or load it by its class: "
            "ITS_CLASS.load_from_checkpoint(path)"
        )
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} does not fit {named} ({error}); use the one it is of") from error


def tested_checkpoint(run: Run, config: Config) -> Path:
    """Return the path of the checkpoint that is tested at the end."""
    return run.best if config.trainer.test_checkpoint == "best" else run.last


def read_for(run: Run, path: Path, config: Config) -> Checkpoint:
    """Read a checkpoint of a run.

    Args:
        run: Whose it must be.
        path: The file.
        config: The run's configuration, with whose network the checkpoint must agree.

    Raises:
        UserError: If it is missing, damaged, not one of ours, or of another run or network.
    """
    if config.trainer.fast_dev_run and not run.checkpoints.exists():
        raise UserError(
            f"{run.folder} was a trial by trainer.fast_dev_run, which keeps no checkpoint; train "
            "without it"
        )
    checkpoint = read_checkpoint(path, run.read_environment().get("run_id"))
    saved = from_yaml(checkpoint.stamp.config, str(path))
    if difference := _difference(saved, config):
        raise UserError(
            f"{path} is of another architecture than its run's config.yaml: {difference}; bring "
            "back the one that belongs to the other"
        )
    return checkpoint


def _difference(saved: Config, expected: Config) -> str:
    """Name the first setting in which the networks of two configurations differ."""
    for group in ("task", "model"):
        theirs, ours = (asdict(getattr(config, group)) for config in (saved, expected))
        for key in sorted({*theirs, *ours} - {"kernel"}):
            if theirs.get(key) != ours.get(key):
                return f"{group}.{key} is {theirs.get(key)} there and {ours.get(key)} here"
    return ""
