"""What the checkpoints of a run say when it goes on, or is tested: all of it checked first."""

import copy
from pathlib import Path

from ugmm.checkpoints import Checkpoint, DamagedError, restore
from ugmm.cluster.processes import is_leading
from ugmm.config.schema import Config
from ugmm.data import InMemoryDataModule
from ugmm.errors import UserError
from ugmm.loading import read_for
from ugmm.metrics import VALIDATED
from ugmm.runs import Run
from ugmm.tasks import Task
from ugmm.terminal import warn
from ugmm.training.saving.rotation import kept

__all__ = ["find_best", "find_validation", "read_last", "read_matching"]


def read_last(run: Run, config: Config, data: InMemoryDataModule, task: Task) -> Checkpoint | None:
    """Return the checkpoint that a run goes on from; None if it starts.

    Where the last one is damaged, it is the one before, and a warning says so.

    Raises:
        UserError: If the checkpoint is of no use.
    """
    damage: DamagedError | None = None
    for path in kept(run.last):
        try:
            last = read_matching(run, path, config, data)
        except DamagedError as error:
            damage = damage or error
            continue
        _try_on(task, last)
        if damage is not None and is_leading():
            warn(f"warning: {damage.what}; going on from {path}, which is from before it")
        return last
    if damage is not None:
        raise damage
    return None


def _try_on(task: Task, checkpoint: Checkpoint) -> None:
    """Complain of weights that do not fit, in one line, where Lightning does not."""
    restore(copy.deepcopy(task.network), checkpoint)


def read_matching(run: Run, path: Path, config: Config, data: InMemoryDataModule) -> Checkpoint:
    """Read a checkpoint of a network of this data, whose file may have changed meanwhile.

    Raises:
        UserError: If the checkpoint is of no use, or of other data.
    """
    checkpoint = read_for(run, path, config)
    remedy = "bring back the data it was trained on, or train again"
    for name in ("n_features", "n_classes"):
        then, now = getattr(checkpoint.stamp, name), getattr(data, name)
        if then != now:
            raise UserError(
                f"{path} was trained where {name} was {then}, and the data now has {now}; {remedy}"
            )
    spec = checkpoint.spec
    if spec is None:
        return checkpoint
    for what in ("feature", "class"):
        names = zip(*(map(str, getattr(of, f"{what}_names")) for of in (spec, data)), strict=False)
        for then, now in names:
            if then != now:
                raise UserError(
                    f"{path} was trained where a {what} was {then!r}, and the data now has "
                    f"{now!r} in its place; {remedy}"
                )
    return checkpoint


def find_best(run: Run, config: Config, task: Task, last: Checkpoint) -> tuple[int, float] | None:
    """Return epoch and validation of the best checkpoint of a run that goes on after the last.

    Raises:
        UserError: If it is of no use, or there is none although there was one.
    """
    if config.trainer.test_checkpoint == "last":
        return None
    expected = last.stamp.best_epoch
    best = read_for(run, run.best, config) if run.best.exists() else None
    if expected is not None and (best is None or best.epoch < expected):
        raise UserError(
            f"no checkpoint at {run.best} that is of epoch {expected + 1}, the best before "
            f"{run.last} was written; bring it back, or train again"
        )
    if best is None:
        return None
    _try_on(task, best)  # it may be tested as it is
    value = find_validation(run, best).get(config.trainer.monitor)
    return None if value is None else (best.epoch, value)


def find_validation(run: Run, checkpoint: Checkpoint) -> dict[str, float]:
    """Return what the validation of a checkpoint measured; nothing if its epoch had none."""
    if checkpoint.stamp.validation is not None:
        return checkpoint.stamp.validation
    rows = [row for row in run.read_metrics() if row["epoch"] == checkpoint.epoch]
    keys = [f"val/{metric.name}" for metric in VALIDATED]
    return {key: value for row in rows for key in keys if (value := row.get(key)) is not None}
