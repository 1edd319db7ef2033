"""Slurm's own commands, asked in one line each."""

import os
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ugmm.errors import UserError
from ugmm.terminal import warn

__all__ = ["QueuedJob", "cancel", "read_queue", "submit"]

# Of where to find Slurm and who one is. All others tell of the job that a shell may be in, and the
# new job would take them for its own.
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS")

_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_RUNNING = (
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
)
_FAILED = ("FAILED", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY")


@dataclass(frozen=True)
class QueuedJob:
    """What Slurm says of a job, or of a task of an array.

    Attributes:
        state: In its words, such as RUNNING.
        reason: Why it waits, in its words; empty where it does not.
    """

    state: str
    reason: str = ""

    def __str__(self) -> str:
        """Return it as a table shows it: `PENDING (Resources)`."""
        return f"{self.state} ({self.reason})" if self.waits and self.reason else self.state

    @property
    def waits(self) -> bool:
        """Whether it is to be started, or started again."""
        return self.state in _WAITING

    @property
    def runs(self) -> bool:
        """Whether it has nodes."""
        return self.state in _RUNNING

    @property
    def lives(self) -> bool:
        """Whether there is anything to wait for, or to cancel."""
        return self.waits or self.runs

    @property
    def failed(self) -> bool:
        """Whether it ended by a fault, and not by somebody's order or its time limit."""
        return self.state in _FAILED


def submit(script: Path) -> str:
    """Submit a job; return its id.

    Raises:
        UserError: If there is no Slurm here, or it refuses.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name in _KEPT
    }
    done = _call(["sbatch", "--parsable", str(script)], environment)
    if done is None:
        raise UserError(
            "there is no sbatch here: launch where jobs are submitted to Slurm, choose "
            "cluster=torchrun, or look at the script with --dry-run"
        )
    if done.returncode:
        raise UserError(f"Slurm refuses the job: {_words(done.stderr)}; see the keys of cluster")
    return done.stdout.strip().partition(";")[0]  # what follows names one of several clusters


def read_queue(jobs: Collection[str]) -> dict[str, QueuedJob]:
    """Return what Slurm says of jobs, by their ids; each task of an array has its own: `18_2`.

    Where there is no Slurm, nothing; where it does not answer, a warning says so.

    Args:
        jobs: Ids of jobs, of whole arrays or of their tasks.
    """
    wanted = {job.partition("_")[0] for job in jobs}
    if not wanted:
        return {}
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
    done = _call([*command, f"--user={os.getuid()}"])
    if done is None:
        return {}
    if done.returncode:
        warn(f"warning: Slurm does not say what its jobs do: {_words(done.stderr)}")
        return {}
    found = {
        job: QueuedJob(state, reason)
        for job, state, reason in _split(done.stdout, 3)
        if job.partition("_")[0] in wanted
    }
    ended = wanted - {job.partition("_")[0] for job in found}
    return found | _read_ended(ended) if ended else found


def _read_ended(jobs: Collection[str]) -> dict[str, QueuedJob]:
    """Return what Slurm's accounts say of jobs that it has forgotten, if it keeps any."""
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State"]
    done = _call([*command, f"--jobs={','.join(sorted(jobs))}"])
    if done is None or done.returncode:
        return {}
    # As in "CANCELLED by 1000".
    return {job: QueuedJob(state.split()[0]) for job, state in _split(done.stdout, 2)}


def cancel(job: str) -> None:
    """Cancel a job, a task of an array, or all tasks of one.

    Raises:
        UserError: If Slurm refuses.
    """
    done = _call(["scancel", job])
    if done is None or done.returncode:
        why = "there is no scancel here" if done is None else _words(done.stderr)
        raise UserError(f"job {job} cannot be cancelled: {why}")


def _split(text: str, cells: int) -> Iterator[list[str]]:
    """Yield the cells of lines that have as many."""
    lines = (line.strip().split("|") for line in text.splitlines())
    return (line for line in lines if len(line) == cells and all(line[:2]))


def _call(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str] | None:
    """Run a command; None if it is not here."""
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
    except (FileNotFoundError, PermissionError):
        return None


def _words(said: str) -> str:
    """Return in a line what a command of Slurm complains of."""
    lines = [line.partition("error: ")[2] or line for line in said.splitlines()]
    return "; ".join(line.strip() for line in lines if line.strip()) or "it does not say why"
