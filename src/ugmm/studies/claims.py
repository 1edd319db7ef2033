"""Claims on the points of an ablation, by which processes and machines share a folder.

A claim is a file that only one process can make, and that its owner touches every few seconds.
When an owner has died, the next worker takes the point over by making the file of the next
number: of all that try at once, one succeeds. No file is ever removed, so that nobody can lose a
claim without noticing.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ugmm.cluster.owners import Owner, this_process
from ugmm.writing import WriteError, make_folder

__all__ = ["STALE", "Claims"]

HEARTBEAT = 5.0  # seconds
STALE = 60.0  # seconds without a heartbeat, after which an owner counts as dead


class Claims:
    """The claims of an ablation.

    Arguments:
        folder: Where they lie; it is made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_taken(self) -> set[str]:
        """Return the points that living workers have."""
        newest = self._find_newest()
        now = self._now() if newest else 0.0
        return {point for point, claim in newest.items() if self._lives(claim, now)}

    @contextmanager
    def holding(self, point: str, lost: Callable[[], None]) -> Iterator[bool]:
        """Hold a point while the body runs, if it can be had; yield whether it could.

        Args:
            point: Its id.
            lost: Called from another thread if somebody took the point over, as it may be after
                a machine has slept.

        Raises:
            WriteError: If no file can be made.
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
            _free(claim)

    def _take(self, point: str) -> Path | None:
        newest = self._find_newest().get(point)
        if newest is not None and self._lives(newest, self._now()):
            return None
        number = 0 if newest is None else int(newest.suffix[1:]) + 1
        claim = self.folder / f"{point}.{number}"
        make_folder(self.folder)
        try:
            # Every file system does this for one process only; links are refused by many.
            file = os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return None
        except OSError as error:
            raise WriteError(claim, error) from error
        try:
            # Whoever looks before this is written sees a fresh claim of somebody unknown.
            with open(file, "w", encoding="utf-8") as writing:
                writing.write(this_process().to_json())
        except OSError as error:
            _free(claim)
            raise WriteError(claim, error) from error
        return claim

    def _find_newest(self) -> dict[str, Path]:
        """Return the newest claim on each point."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return {}
        numbers: dict[str, int] = {}
        for name in names:
            point, _, number = name.partition(".")
            if point and number.isdecimal():
                numbers[point] = max(numbers.get(point, 0), int(number))
        return {point: self.folder / f"{point}.{number}" for point, number in numbers.items()}

    def _lives(self, claim: Path, now: float) -> bool:
        if now - claim.stat().st_mtime > STALE:
            return False
        try:
            owner = Owner.parse(claim.read_text(encoding="utf-8", errors="replace"))
        except OSError:  # the heartbeat decides alone
            owner = None
        return owner is None or owner.lives() is not False

    def _now(self) -> float:
        """The time by the clock that stamps the claims, which may be a file server's."""
        probe = self.folder / f".{secrets.token_hex(8)}"
        try:
            probe.touch()
        except OSError:  # who cannot make files only looks, and takes nothing
            return time.time()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()

    def _beat(self, claim: Path, done: threading.Event, lost: Callable[[], None]) -> None:
        point = claim.name.partition(".")[0]
        while not done.wait(HEARTBEAT):
            with suppress(OSError):  # a file server that is away for a moment
                if self._find_newest().get(point) != claim:
                    lost()
                    return
                os.utime(claim)


def _free(claim: Path) -> None:
    """Let the next worker have the point at once; if that fails, it waits as after a death."""
    with suppress(OSError):
        os.utime(claim, (0, 0))
