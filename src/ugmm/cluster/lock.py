"""One process at a time works on a run: who does, and what becomes of a second."""

import errno
import fcntl
import json
import shlex
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO, Any

from ugmm.cluster.owners import Owner, this_process
from ugmm.cluster.slurm import current_job
from ugmm.errors import UserError
from ugmm.runs import Run
from ugmm.terminal import warn
from ugmm.writing import explaining

__all__ = ["Holder", "RunInUseError", "holding", "read_holder"]

_FILE = ".lock"
_TIME = "%Y-%m-%d %H:%M:%S%z"
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class RunInUseError(UserError):
    """Another process works on the run."""


@dataclass(frozen=True)
class Holder:
    """Who works on a run, or was the last to do so.

    Attributes:
        owner: The process.
        command: What it was started by.
        since: When it began, in seconds.
        step: At which step of the training.
        job: Its job of Slurm; empty outside.
        lives: Whether it still works on the run; None if that cannot be told from here.
    """

    owner: Owner
    command: str
    since: float
    step: int
    job: str
    lives: bool | None


@contextmanager
def holding(run: Run) -> Iterator[None]:
    """Keep others from going on with a run while the body does.

    The system releases the lock however this process ends. Where the file system has no locks, a
    warning says so, and the body runs without.

    Raises:
        RunInUseError: If another process has it.
        WriteError: If the folder cannot be written to.
    """
    path = run.folder / _FILE
    with explaining(path):
        file = path.open("ab+", buffering=0)  # nothing is left to be written as it closes
    with file:
        if not _take(file, run):
            yield
            return
        signature = _signature(run)
        with explaining(path):
            _sign(file, signature)
        try:
            yield
        finally:
            with suppress(OSError):  # the process may live on, as a worker does
                _sign(file, {**signature, "until": time.strftime(_TIME)})


def read_holder(run: Run) -> Holder | None:
    """Return who works on a run, or was the last to do so; None if nobody has signed."""
    try:
        content = json.loads((run.folder / _FILE).read_bytes())
        owner = Owner.parse(json.dumps(content["owner"]))
        if owner is None:
            return None
        return Holder(
            owner=owner,
            command=str(content["command"]),
            since=datetime.strptime(content["since"], _TIME).timestamp(),
            step=int(content["step"]),
            job=str(content["job"]),
            lives=False if "until" in content else owner.lives(),
        )
    except (OSError, ValueError, KeyError, TypeError):  # none, one of an earlier version, or torn
        return None


def _take(file: IO[bytes], run: Run) -> bool:
    """Lock the file, and return whether there are locks here at all."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise RunInUseError(f"{run.folder} is in use: {_describe(file)}") from None
        if error.errno not in _UNSUPPORTED:
            raise
        warn(
            f"warning: this file system does not lock files ({error.strerror}): see to it that "
            f"nothing else goes on with {run.folder}"
        )
        return False
    return True


def _signature(run: Run) -> dict[str, Any]:
    """Return what this process writes down of itself, and of where the run stands."""
    step = 0
    with suppress(UserError):  # whoever needs the metrics complains of them
        step = max((int(row["step"] or 0) for row in run.read_metrics()), default=0)
    return {
        "owner": asdict(this_process()),
        "command": textwrap.shorten(shlex.join(["ugmm", *sys.argv[1:]]), 80, placeholder=" ..."),
        "since": time.strftime(_TIME),
        "step": step,
        "job": current_job(),
    }


def _sign(file: IO[bytes], signature: Mapping[str, Any]) -> None:
    file.truncate(0)
    file.write(json.dumps(signature).encode() + b"\n")


def _describe(file: IO[bytes]) -> str:
    """Return who holds the lock, in words, with the remedy."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
        who = "process {owner[pid]} on {owner[host]}, since {since} ({command})".format(**holder)
    except (OSError, ValueError, KeyError, TypeError):  # it has only just taken it
        who = "another process has just taken it"
    return f"{who}; wait for its end, or stop it"
