"""Which process of a run this is, and the folder that all of its processes share."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ugmm.errors import UserError
from ugmm.experiment.compose import read_config, to_yaml
from ugmm.experiment.config import Config
from ugmm.runs import Run

__all__ = ["open_run", "rank", "stops_cleanly"]

# Set by the process that made the folder, for those that Lightning then starts.
_FOLDER = "UGMM_RUN_FOLDER"
_WAIT_SECONDS = 120


def rank() -> int:
    """Return this process's place among the run's processes; 0 leads."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def open_run(config: Config) -> tuple[Run, Config]:
    """Return the run's folder and the configuration frozen in it.

    The leading process makes the folder. Others (started by Lightning, torchrun or srun) read the
    configuration from it and nothing else, so that editing a YAML never changes a run under way;
    so does a job that Slurm has requeued, which continues its run.

    Raises:
        UserError: If the folder cannot be made, or does not appear.
    """
    if _FOLDER in os.environ and rank() > 0:
        run = Run.open(os.environ[_FOLDER])
        return run, read_config(run.config)
    run = Run.create(config.runs_dir, config.group, config.name, _launch_id())
    if rank() > 0:
        _wait_for(run)
    if run.config.is_file():
        return run, read_config(run.config)
    run.freeze(to_yaml(config))
    os.environ[_FOLDER] = str(run.folder.resolve())
    return run, config


def _launch_id() -> str | None:
    """Return what all processes of an srun or torchrun launch know; None without a launcher."""
    environment = os.environ
    if "SLURM_PROCID" in environment and int(environment.get("SLURM_NTASKS", 1)) > 1:
        return f"slurm{environment['SLURM_JOB_ID']}"
    if "TORCHELASTIC_RUN_ID" in environment:
        launch = environment["TORCHELASTIC_RUN_ID"]
        # Without --rdzv-id the id is "none": one agent, the parent of all processes.
        return f"torchrun{os.getppid() if launch == 'none' else launch}"
    return None


def _wait_for(run: Run) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not run.config.is_file():
        if time.monotonic() > deadline:
            raise UserError(
                f"no {run.config} after {_WAIT_SECONDS} s: did the first process fail, and do "
                "all nodes see this folder?"
            )
        time.sleep(0.1)


@contextmanager
def stops_cleanly(run: Run) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the body as `SystemExit`, so that what is open gets closed.

    The leading process then says how to go on.
    """

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        sys.exit(128 + signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except SystemExit as stopped:
        if rank() == 0:
            sys.stderr.write(f"stopped; go on with: ugmm train --resume {run.folder}\n")
        if stopped.code == 1:  # what Lightning makes of Ctrl-C
            raise SystemExit(128 + signal.SIGINT) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
