"""Where the command's words go: two streams to which writing never fails.

Work that is done must not be lost because nobody could read of it: not where the reader of a pipe
has gone, where the disk that a log lies on is full, where the terminal was closed, where a
character is not in the stream's encoding, or where there is no stream at all.
"""

import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

__all__ = ["answer", "guard_streams", "loading", "progress_bar", "say", "warn"]

# The reader has gone, or the terminal has: there is nobody to tell.
_NOBODY_READS = (errno.EPIPE, errno.EIO)


class _Descriptor(io.FileIO):
    """A file descriptor to write to; from the first failure on, what is written is dropped."""

    def write(self, data: Any) -> int:
        """Write some of the bytes; return how many."""
        try:
            return self.put(data)
        except OSError as error:
            self._drop(error)
            return memoryview(data).nbytes

    def put(self, data: Any) -> int:
        """Write some of the bytes, or fail; return how many."""
        # A pipe that another process has made non-blocking may be full for now.
        while (written := super().write(data)) is None:
            select.select([], [self], [])
        return written

    def _drop(self, error: OSError) -> None:
        # The descriptor itself, for processes started from here write to it too.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        if self.fileno() == 1 and error.errno not in _NOBODY_READS:
            sys.stderr.write(
                f"warning: standard output cannot be written ({error.strerror}); what follows is "
                "not shown\n"
            )


def guard_streams() -> None:
    """Make standard output and error of this process such that writing to them never fails.

    What has put a stream of its own in their place, such as a test or a notebook, keeps it; what
    has put None there gets one that drops what is written.
    """
    for descriptor in range(3):  # a file opened later must not become one of these
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None and getattr(sys, f"__{name}__") is not None:
            null = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(null, "w", encoding="utf-8"))
            continue
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if stream is not getattr(sys, f"__{name}__") or isinstance(raw, _Descriptor):
            continue
        guarded = io.TextIOWrapper(
            io.BufferedWriter(_Descriptor(descriptor, "w", closefd=False)),
            encoding=getattr(stream, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=True,
        )
        if stream is not None:
            stream.flush()
        setattr(sys, name, guarded)
        setattr(sys, f"__{name}__", guarded)


def answer(text: str) -> bool:
    """Write to standard output what the command was asked for: all of it, while somebody reads.

    Returns:
        Whether somebody does, as far as is known.

    Raises:
        OSError: If it cannot be written, as where the disk is full; what is said beside an answer
            may be lost, the answer may not.
    """
    stream = sys.stdout
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(raw, _Descriptor):  # a test's or a notebook's own
        stream.write(text)
        return True
    stream.flush()
    left = memoryview(text.encode(stream.encoding, "backslashreplace"))
    try:
        while left:
            left = left[raw.put(left) :]
    except OSError as error:
        if error.errno not in _NOBODY_READS:
            raise
        return False
    return True


def say(line: str) -> None:
    """Write a line to standard output, if there is one that takes it.

    For what is called from Python, too, where streams are not guarded.
    """
    _write(sys.stdout, line)


def warn(line: str) -> None:
    """Write a line to standard error, if there is one that takes it."""
    _write(sys.stderr, line)


def _write(stream: TextIO | None, line: str) -> None:
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    with suppress(OSError, ValueError):  # its reader has gone, or it is closed
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


@contextmanager
def loading(*, told: bool = True) -> Iterator[None]:
    """On a terminal, show that the body loads what takes seconds, while it does.

    Args:
        told: Whether this process is the one that tells it.
    """
    shown = told and sys.stderr is not None and sys.stderr.isatty()
    if shown:
        sys.stderr.write("loading ...")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r           \r")
            sys.stderr.flush()


@contextmanager
def progress_bar(doing: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; nothing elsewhere. Standard output may be the answer's.

    Args:
        doing: What is done.
        shown: Whether to show one at all.

    Yields:
        What is told how much of how much is done.
    """
    from rich.console import Console
    from rich.progress import Progress

    shown = shown and sys.stderr.isatty()
    with Progress(console=Console(file=sys.stderr), disable=not shown) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
