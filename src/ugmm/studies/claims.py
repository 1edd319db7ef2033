"""Claims on the points of an ablation, by which processes and machines share a folder.

A claim is a file made atomically, whose owner touches it every few seconds. When an owner has
died, the next worker takes the point over by making the file of the next number: of all that try
at once, one succeeds. No file is ever removed, so that nobody can lose a claim without noticing.
"""

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Claims"]

HEARTBEAT = 5.0  # seconds
STALE = 60.0  # seconds without a heartbeat, after which an owner counts as dead


class Claims:
    """The claims of an ablation.

    Arguments:
        folder: Where they lie; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def is_taken(self, point: str) -> bool:
        """Whether a living worker has it."""
        newest = self._newest(point)
        return newest is not None and self._lives(newest)

    @contextmanager
    def holding(self, point: str, lost: Callable[[], None]) -> Iterator[bool]:
        """Hold a point while the body runs, if it can be had; yield whether it could.

        Args:
            point: Its id.
            lost: Called from another thread if somebody took the point over, as it may be after
                a machine has slept.
        """
        claim = self._take(point)
        if claim is None:
            yield False
            return
        done = threading.Event()
        beat = threading.Thread(target=self._beat, args=(claim, done, lost), daemon=True)
        beat.start()
        try:
            yield True
        finally:
            done.set()
            beat.join()
            os.utime(claim, (0, 0))  # free again

    def _take(self, point: str) -> Path | None:
        newest = self._newest(point)
        if newest is not None and self._lives(newest):
            return None
        number = 0 if newest is None else int(newest.suffix[1:]) + 1
        claim = self.folder / f"{point}.{number}"
        owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
        }
        draft = self.folder / f".{secrets.token_hex(8)}"
        draft.write_text(json.dumps(owner), encoding="utf-8")
        try:
            os.link(draft, claim)  # whole from the first moment; fails if it exists
        except FileExistsError:
            return None
        finally:
            draft.unlink()
        return claim

    def _newest(self, point: str) -> Path | None:
        claims = self.folder.glob(f"{point}.*")
        return max(claims, key=lambda path: int(path.suffix[1:]), default=None)

    def _lives(self, claim: Path) -> bool:
        if self._now() - claim.stat().st_mtime > STALE:
            return False
        owner = json.loads(claim.read_text(encoding="utf-8"))
        if owner["host"] != socket.gethostname():
            return True
        return _started(owner["pid"]) == owner["started"]

    def _now(self) -> float:
        """The time by the clock that stamps the claims, which may be a file server's."""
        probe = self.folder / f".{secrets.token_hex(8)}"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()

    def _beat(self, claim: Path, done: threading.Event, lost: Callable[[], None]) -> None:
        point = claim.name.partition(".")[0]
        while not done.wait(HEARTBEAT):
            if self._newest(point) != claim:
                lost()
                return
            os.utime(claim)


def _started(pid: int) -> str | None:
    """When a process of this machine started; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        return _exists(pid)
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]  # a zombie runs no more


def _exists(pid: int) -> str | None:
    """Where there is no /proc: whether the process exists, which is less."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "running"  # under another user
    return "running"
