"""Which process of a run this is, and how all of its processes find the same folder."""

import os
import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from ugmm.cluster.slurm import current_step
from ugmm.errors import UserError
from ugmm.runs import Run, locate
from ugmm.writing import make_folder, write_atomic

__all__ = [
    "WAIT_SECONDS",
    "find_resumed",
    "find_run",
    "is_leading",
    "launch_id",
    "share_folder",
    "tell_children",
]

# Set by the process that made the folder, for those that Lightning then starts.
_FOLDER = "UGMM_RUN_FOLDER"
WAIT_SECONDS = 120.0  # for the leading process to make the folder


def launch_id() -> str | None:
    """Return what all processes of an srun or torchrun launch share; None without a launcher.

    Raises:
        UserError: If torchrun was given several nodes and no id.
    """
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        launch = re.sub(r"[^\w.-]", "_", environment["TORCHELASTIC_RUN_ID"])
        if launch == "none":
            raise UserError("torchrun on several nodes needs --rdzv-id, a new one for every run")
        # In another job the same id is another launch; in one job, each node may be a step.
        job = environment.get("SLURM_JOB_ID")
        return f"slurm-{job}-torchrun-{launch}" if job else f"torchrun-{launch}"
    step = current_step()
    return f"slurm-{step.id}" if step else None


def is_leading() -> bool:
    """Return whether this process is the one that makes the folder, tracks, draws and reports."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"]) == 0
    step = current_step()
    return step.rank == 0 if step else not _started_by_lightning()


def find_run(overrides: Sequence[str]) -> Run | None:
    """Return the run that this process belongs to, if it exists already.

    A process that does not lead waits for it. A leading process finds one if its job was requeued
    or restarted. Neither looks at any YAML but the frozen one in the folder, so that editing a
    YAML never changes a run under way.

    Args:
        overrides: The command's `key=value` settings.

    Raises:
        UserError: If the run does not appear, or belongs to an earlier launch of the same id.
    """
    if _started_by_lightning():
        return Run.open(os.environ[_FOLDER])
    pointer = _pointer(overrides)
    if pointer is None:
        return None
    if not is_leading():
        _wait_for(pointer)
        return Run.open(pointer.read_text(encoding="utf-8"))
    if not pointer.is_file():
        return None
    run = Run.open(pointer.read_text(encoding="utf-8"))
    restarts = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    if not any(int(os.environ.get(name, 0)) for name in restarts):
        raise UserError(
            f"launch {launch_id()} has a run already, {run.folder}; go on with it by: "
            f"ugmm train --resume {shlex.quote(str(run.folder))}, or launch with another id"
        )
    return run


def find_resumed(place: str) -> Run:
    """Return the run to go on with (see `ugmm.runs.locate`); a checkpoint stands for its run.

    Processes that Lightning starts for it go on with that very run, whatever is newer then.
    """
    return Run.open(os.environ[_FOLDER]) if _started_by_lightning() else locate(place)[0]


def share_folder(run: Run, overrides: Sequence[str]) -> None:
    """Tell the other processes of a new run where its folder is."""
    tell_children(run)
    if pointer := _pointer(overrides):
        make_folder(pointer.parent)
        write_atomic(pointer, os.environ[_FOLDER])


def tell_children(run: Run) -> None:
    """Tell the processes that this one will start where the run's folder is."""
    os.environ[_FOLDER] = str(run.folder.resolve())


def _started_by_lightning() -> bool:
    return _FOLDER in os.environ and int(os.environ.get("LOCAL_RANK", 0)) > 0


def _pointer(overrides: Sequence[str]) -> Path | None:
    """Return the file that names a launch's folder; the command line alone says where it is."""
    launch = launch_id()
    if launch is None:
        return None
    settings = dict(override.partition("=")[::2] for override in overrides)
    return Path(settings.get("runs_dir", "runs")) / ".launches" / launch


def _wait_for(pointer: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not pointer.is_file():
        if time.monotonic() > deadline:
            raise UserError(
                f"no {pointer} after {WAIT_SECONDS:g} s: did the first process fail, and do all "
                "nodes see this folder?"
            )
        time.sleep(0.1)
