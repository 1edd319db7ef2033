"""One process at a time works on a run: who does, and what becomes of a second."""

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ugmm.errors import UserError
from ugmm.runs import Run
from ugmm.terminal import warn
from ugmm.writing import explaining

__all__ = ["RunInUseError", "holding"]

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class RunInUseError(UserError):
    """Another process works on the run."""


@contextmanager
def holding(run: Run) -> Iterator[None]:
    """Keep others from going on with a run while the body does.

    The system releases the lock however this process ends. Where the file system has no locks, a
    warning says so, and the body runs without.

    Raises:
        RunInUseError: If another process has it.
        WriteError: If the folder cannot be written to.
    """
    path = run.folder / ".lock"
    with explaining(path):
        file = path.open("ab+", buffering=0)  # nothing is left to be written as it closes
    with file:
        if _take(file, run):
            with explaining(path):
                _sign(file)
        yield


def _take(file: IO[bytes], run: Run) -> bool:
    """Lock the file, and return whether there are locks here at all."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise RunInUseError(f"{run.folder} is in use: {_holder(file)}") from None
        if error.errno not in _UNSUPPORTED:
            raise
        warn(
            f"warning: this file system does not lock files ({error.strerror}): see to it that "
            f"nothing else goes on with {run.folder}"
        )
        return False
    return True


def _sign(file: IO[bytes]) -> None:
    """Write down who holds the lock."""
    file.truncate(0)
    holder = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": textwrap.shorten(shlex.join(["ugmm", *sys.argv[1:]]), 80, placeholder=" ..."),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    file.write(json.dumps(holder).encode() + b"\n")


def _holder(file: IO[bytes]) -> str:
    """Return who holds the lock, in words, with the remedy."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
        who = "process {pid} on {host}, since {since} ({command})".format(**holder)
    except (OSError, ValueError, KeyError, TypeError):  # it has only just taken it
        who = "another process has just taken it"
    return f"{who}; wait for its end, or stop it"
