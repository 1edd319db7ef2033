"""Being told to stop: by a signal, or since the time of a Slurm job runs out; and coming again."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from multiprocessing import parent_process
from signal import SIGTERM

from ugmm.cluster import signals
from ugmm.cluster.processes import is_leading
from ugmm.cluster.slurm import current_job
from ugmm.terminal import warn

__all__ = ["Notice", "requeuing"]

_ASK_SECONDS = 20  # for an answer of Slurm's


class Notice:
    """What this process knows of having to stop.

    Arguments:
        grace: How many seconds before the end of its Slurm job it must; at most half of those that
            are left, so that a short job gets somewhere.
    """

    def __init__(self, grace: float) -> None:
        end, now = _job_end() if is_leading() else None, time.time()
        self.deadline = None if end is None else end - min(grace, (end - now) / 2)

    def signum(self) -> int:
        """Return the signal that says so, 0 if none does; SIGTERM where the time runs out."""
        if self.deadline is not None and time.time() >= self.deadline:
            return SIGTERM
        return signals.put_off()


def _job_end() -> float | None:
    """Return when the Slurm job ends that this process belongs to; None if it need not know."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or parent_process() is not None:  # whose parent knows
        return None
    if (stated := os.environ.get("SLURM_JOB_END_TIME", "")).isdecimal():  # since Slurm 22.05
        return float(stated)
    with suppress(ValueError):  # or its time is not limited
        return datetime.fromisoformat(_ask("squeue", "-h", "-j", job, "-o", "%e")).timestamp()
    return None


@contextmanager
def requeuing() -> Iterator[None]:
    """Requeue the Slurm job of a body that has to stop, if it can be, once all in it is closed.

    Slurm then ends all processes of the job. The exit code of this one is 0. Of two such bodies,
    one in the other, the inner one sees to it.
    """
    try:
        yield
    except BaseException as error:
        ours = signals.ends_work(error) and is_leading() and not signals.is_told()
        job = _requeue() if ours else None
        if job is None:
            raise
        place = error.place if isinstance(error, signals.Stopped) else ""
        signals.tell(f"requeued job {job}" + (f": goes on after {place}" if place else ""))
        raise signals.Stopped(0, place) from error


def _requeue() -> str | None:
    """Put the job back into the queue and return its name there; None if that cannot be."""
    job = current_job()
    if not job or parent_process() is not None:  # whose parent does it
        return None
    state = dict(re.findall(r"(\w+)=(\S*)", _ask("scontrol", "show", "job", job)))
    # One that is cancelled is no longer running, nor is one that is over its time.
    if (state.get("JobState"), state.get("Requeue")) != ("RUNNING", "1"):
        return None
    if state.get("BatchFlag", "0") == "0":
        return None
    signals.ignore()  # with which Slurm ends the job
    try:
        subprocess.run(
            ["scontrol", "requeue", job],
            check=True,
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        warn(f"warning: job {job} could not be requeued ({said.strip()})")
        return None
    return job


def _ask(*command: str) -> str:
    """Return what a command of Slurm's says; nothing if it does not answer."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
