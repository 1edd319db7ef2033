"""A cache of downloaded files, verified by their digests and never half-written.

A file takes its final name only when it is whole, by `os.replace`, so a process that is killed
leaves nothing behind but a `partial-` folder, which the next fetch sweeps away. One process at a
time fills a folder; reading needs no lock.
"""

import hashlib
import http.client
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ugmm.data.text_file import check_regular
from ugmm.errors import UserError

__all__ = [
    "FetchError",
    "Source",
    "cache_folder",
    "download",
    "fetch_files",
    "locked",
    "read_verified",
]

CACHE_VARIABLE = "UGMM_DATA_DIR"
STALL_SECONDS = 10.0  # without a byte, or without a connection
FILE_SECONDS = 120.0  # for one file altogether: MNIST's largest has 10 MB
LOCK_SECONDS = 1000.0  # longer than the slowest fetch that ends well
MAX_DOWNLOAD = 1 << 28  # bytes; a server that sends on and on would fill the memory

_SCRATCH_PREFIX = "partial-"


class FetchError(Exception):
    """A source could not give a file; the next source is tried."""


class Source(NamedTuple):
    """Somewhere that files come from.

    Attributes:
        name: What to call it in a message.
        files: Called with the names wanted and a scratch folder; yields each name with its
            contents, or raises FetchError. Whatever is yielded is verified, then kept.
    """

    name: str
    files: Callable[[list[str], Path], Iterator[tuple[str, bytes]]]


def cache_folder(name: str) -> Path:
    """Return the folder of the data set `name`, below UGMM_DATA_DIR or the user's cache.

    Raises:
        UserError: If that is in the home of an account that has none.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    base = chosen or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        folder = Path(base).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(
            f"no place for data sets: there is no home folder to find {base} in; set "
            f"{CACHE_VARIABLE} to a folder"
        ) from error
    return folder / name if chosen else folder / "ugmm" / name


def fetch_files(folder: Path, digests: Mapping[str, str], sources: Iterable[Source]) -> None:
    """See to it that `folder` holds files with these MD5 digests.

    A file that is there but has another digest is reported on stderr, removed and fetched again.

    Args:
        folder: Where the files are or will be.
        digests: The MD5 digest of each file, by name.
        sources: Tried in order until nothing is missing; not touched if nothing is.

    Raises:
        UserError: If no source gives what is missing, if the folder cannot be written, or if
            another process keeps it locked for too long.
    """
    if not _missing(folder, digests):  # before the lock: a shared cache may be read-only
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder), _scratch_folder(folder) as scratch:
            _remove_damaged(folder, digests)
            _fill(folder, digests, sources, scratch)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error}); make room or give access, or "
            f"set {CACHE_VARIABLE} to another folder"
        ) from error


def read_verified(path: Path, md5: str) -> bytes:
    """Read a file of the cache.

    Raises:
        UserError: If it is missing, no file with an end, or its MD5 digest is not `md5`.
    """
    try:
        check_regular(path)
        payload = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}); call prepare_data() first, or put the file "
            f"there, or set {CACHE_VARIABLE} to the folder that holds {path.parent.name}/"
        ) from error
    if _md5(payload) != md5:
        raise UserError(f"{path} is damaged; call prepare_data() to fetch it again")
    return payload


def download(url: str) -> bytes:
    """Download a file, with a progress bar on a terminal.

    Raises:
        FetchError: If the network or the server fails, stalls for STALL_SECONDS, or takes longer
            than FILE_SECONDS.
    """
    deadline = time.monotonic() + FILE_SECONDS
    payload = bytearray()
    try:
        with (
            urllib.request.urlopen(url, timeout=STALL_SECONDS) as response,
            _progress() as progress,
        ):
            size = response.headers.get("Content-Length")
            task = progress.add_task(url.rpartition("/")[2], total=int(size) if size else None)
            # read1 returns what has arrived; read would wait, past any deadline, for all of it.
            while chunk := response.read1(1 << 16):
                payload += chunk
                progress.update(task, completed=len(payload))
                if time.monotonic() > deadline:
                    raise FetchError(f"took longer than {FILE_SECONDS:g} s")
                if len(payload) > MAX_DOWNLOAD:
                    raise FetchError(f"sent more than {MAX_DOWNLOAD} bytes")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    return bytes(payload)


def _say(line: str) -> None:
    """Tell the user, on stderr, what takes time or went wrong."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _fill(
    folder: Path, digests: Mapping[str, str], sources: Iterable[Source], scratch: Path
) -> None:
    """Fetch what is missing, source after source, and keep whatever each could give."""
    missing = _missing(folder, digests)  # another process may have just fetched it
    if not missing:
        return
    _say(f"fetching {len(missing)} files into {folder}")
    failures = []
    for source in sources:
        try:
            for name, payload in source.files(missing, scratch):
                if _md5(payload) != digests[name]:
                    raise FetchError(f"{name} has the wrong digest")
                _store(folder / name, payload, scratch)
        except FetchError as error:
            failures.append(f"{source.name}: {' '.join(str(error).split())}")
        missing = _missing(folder, digests)
        if not missing:
            return
    raise UserError(
        f"cannot fetch {', '.join(missing)} (tried {'; '.join(failures) or 'no source'}); put "
        f"them into {folder}, or set {CACHE_VARIABLE} to a folder whose {folder.name}/ holds them"
    )


def _missing(folder: Path, digests: Mapping[str, str]) -> list[str]:
    return [name for name, md5 in digests.items() if _file_md5(folder / name) != md5]


def _remove_damaged(folder: Path, digests: Mapping[str, str]) -> None:
    for name, md5 in digests.items():
        path = folder / name
        if path.exists() and _file_md5(path) != md5:
            _say(f"{path} is damaged (wrong digest): removing it")
            path.unlink()


def _store(path: Path, payload: bytes, scratch: Path) -> None:
    """Give `payload` its final name only when all of it is on the disk."""
    partial = scratch / path.name
    with partial.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _md5(payload: bytes) -> str:
    return hashlib.md5(payload, usedforsecurity=False).hexdigest()


def _file_md5(path: Path) -> str | None:
    """The digest of a file; None if it cannot be read, or is no file with an end."""
    try:
        return _md5(path.read_bytes()) if path.is_file() else None
    except OSError:
        return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases even if this process is killed."""
    lock = FileLock(folder / ".lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _say(f"waiting for another process that is filling {folder}")
            lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise UserError(
            f"another process has held {lock.lock_file} for {LOCK_SECONDS:g} s; end it, or set "
            f"{CACHE_VARIABLE} to another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same disk; needs the lock, since it sweeps others' remains."""
    for remains in folder.glob(f"{_SCRATCH_PREFIX}*"):
        shutil.rmtree(remains, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=_SCRATCH_PREFIX, dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        yield Path(scratch)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # a log file wants no bars
    )
