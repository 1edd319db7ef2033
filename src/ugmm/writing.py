"""Writing to disk: a file whole or not at all, and one line where the disk will not have it."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ugmm.errors import UserError

__all__ = [
    "WriteError",
    "cut_torn_line",
    "explain",
    "explaining",
    "make_folder",
    "replacing",
    "sweep",
    "write_atomic",
]

# What it is called, and what mends it.
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("your quota of disk space is used up", "remove what you do not need"),
    errno.EROFS: ("the file system is read-only", "make it writable, or name another folder"),
    errno.EACCES: ("permission is denied", "get access, or name another folder"),
    errno.EPERM: ("permission is denied", "get access, or name another folder"),
    errno.EFBIG: ("files may not grow so large here", "raise the limit (ulimit -f)"),
    errno.EIO: ("the disk or its connection failed", "look after it"),
    errno.ESTALE: ("the file server has lost it", "mount it again"),
}
_PARTIAL = ".partial"


class WriteError(UserError):
    """A file that cannot be written.

    Arguments:
        path: The file, or its folder.
        error: What the system said.
        then: What to do once that is mended.
    """

    def __init__(self, path: Path | str, error: OSError, then: str = "try again") -> None:
        super().__init__(f"cannot write {path}: {explain(error)} and {then}")
        self.path = path
        self.error = error

    def going_on(self, then: str) -> "WriteError":
        """Return the same error for a caller who knows better how to go on."""
        return WriteError(self.path, self.error, then)


def explain(error: OSError) -> str:
    """Return an error's reason in words, and what mends it: "the disk is full; free space"."""
    if error.errno in _REASONS:
        return "; ".join(_REASONS[error.errno])
    return f"{error.strerror or str(error) or type(error).__name__}; mend that"


@contextmanager
def explaining(path: Path | str) -> Iterator[None]:
    """Make any `OSError` of the body, which writes `path`, one line.

    Raises:
        WriteError: Of that line.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        WriteError: If it cannot be made.
    """
    with explaining(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which takes the place of `path` when the body ends.

    Whenever the process dies, `path` is whole: the old file or the new one; afterwards the new,
    even if the machine goes down. What is no file, such as /dev/null or a pipe, is written to
    itself, for nothing may take its place.

    Raises:
        WriteError: If it cannot be written.
    """
    if path.exists() and not path.is_file():
        with explaining(path):
            yield path
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
    with explaining(path):
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            with suppress(OSError):  # some file systems have no such thing
                _sync(path.parent)
        finally:
            with suppress(OSError):  # it has its name by now; or `sweep` takes it away later
                temporary.unlink()


def _sync(path: Path) -> None:
    """Bring a file, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file, wholly or not at all; a text as UTF-8.

    Raises:
        WriteError: If it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that was left half-written, or what is added would be lost with it.

    Nobody else may be writing there.

    Raises:
        WriteError: If the file is there and cannot be changed.
    """
    with explaining(path), suppress(FileNotFoundError):
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder and those below it.

    Nobody else may be writing there.
    """
    for partial in folder.rglob(f".*{_PARTIAL}"):
        with suppress(OSError):  # it is in nobody's way: no name that anybody reads is like it
            partial.unlink()
