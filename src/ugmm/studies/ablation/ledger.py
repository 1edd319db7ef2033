"""What has become of each point of an ablation, read from the folders that workers share."""

import traceback
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Literal

from ugmm.errors import UserError
from ugmm.runs import write_atomic
from ugmm.studies.ablation.definition import Point
from ugmm.studies.claims import Claims

__all__ = ["Board", "State"]

State = Literal["done", "failed", "running", "interrupted", "planned"]


class Board:
    """What has become of each point.

    Arguments:
        folder: Of the plan.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._failures = folder / "failures"
        self._done: set[str] = set()

    @cached_property
    def claims(self) -> Claims:
        """Made when first asked for: a dry run makes no folder."""
        return Claims(self.folder / "claims")

    def state(self, point: Point) -> State:
        """Where a point stands."""
        if point.id in self._done:
            return "done"
        run = point.run
        if run.summary.is_file():
            self._done.add(point.id)
            return "done"
        if self._file(point).is_file():
            return "failed"
        if not self.folder.is_dir():
            return "planned"
        if self.claims.is_taken(point.id):
            return "running"
        return "interrupted" if run.config.is_file() else "planned"

    def fail(self, point: Point, error: BaseException) -> None:
        """Write down why a point failed."""
        self._failures.mkdir(exist_ok=True)
        last = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else error
        write_atomic(self._file(point), f"{last}\n\n{''.join(traceback.format_exception(error))}")

    def summaries(self, points: list[Point]) -> dict[str, dict[str, float]]:
        """By their ids, the figures of the points that are done."""
        return {p.id: p.run.read_summary() for p in points if self.state(p) == "done"}

    def failure(self, point: Point) -> str:
        """The line that says why a point failed, and where the rest stands."""
        path = self._file(point)
        return f"{path.read_text(encoding='utf-8').partition(chr(10))[0]} ({path})"

    def forget_failures(self) -> None:
        """Let failed points run again."""
        for path in self._failures.glob("*.txt"):
            path.unlink(missing_ok=True)

    def open(self, points: list[Point]) -> list[Point]:
        """The points that are neither done nor failed."""
        return [point for point in points if self.state(point) not in ("done", "failed")]

    def number_done(self, points: list[Point]) -> int:
        """How many points are done."""
        return sum(self.state(point) == "done" for point in points)

    def counts(self, points: list[Point]) -> str:
        """How many points stand where, in words."""
        counts = Counter(self.state(point) for point in points)
        return ", ".join(f"{counts[state]} {state}" for state in counts)

    def _file(self, point: Point) -> Path:
        return self._failures / f"{point.id}.txt"
