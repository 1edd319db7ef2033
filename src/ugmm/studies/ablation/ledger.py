"""What is planned of an ablation, and what has become of it: read from folders that workers share.

Imports no torch.
"""

import re
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from filelock import FileLock

from ugmm.config.canonical import compute_identity
from ugmm.errors import UserError
from ugmm.studies.ablation.points import (
    ID_DIGITS,
    Point,
    format_plan,
    load_frozen,
    parse_plan,
    read_plan,
)
from ugmm.studies.claims import Claims
from ugmm.writing import make_folder, write_atomic

__all__ = ["Ledger", "State"]

State = Literal["done", "failed", "running", "interrupted", "planned"]


class Ledger:
    """The points of an ablation: which are planned, and where each stands.

    The plan only grows: editing the ablation's file changes nothing that is planned. Other
    processes work with the same folder, so only what is final is remembered.

    Arguments:
        folder: `<runs_dir>/<ablation>/ablation`, which may not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "plan.json"
        self._failures = folder / "failures"
        self._done: set[str] = set()
        self._text = ""
        self._points: list[Point] = []

    def read_points(self) -> list[Point]:
        """Return all points planned so far.

        Raises:
            UserError: If the plan is damaged.
        """
        text = read_plan(self.path)
        if text != self._text:
            self._points = parse_plan(text, self.path)
            self._text = text
        return list(self._points)

    def lock(self) -> FileLock:
        """Return the lock that whoever changes the plan must hold."""
        make_folder(self.folder)
        return FileLock(self.folder / ".plan.lock", is_singleton=True)

    def match(self, wanted: Sequence[Point]) -> list[Point]:
        """Return points as they are planned, or as they would be: with ids that are theirs alone.

        A point is the one of the plan that computes the same, whatever its id.
        """
        planned = {point.identity: point for point in self.read_points()}
        taken = {point.id for point in self.read_points()}
        found = []
        for point in wanted:
            if point.identity not in planned:
                own = replace(point, id=_find_id(point, taken))
                planned[point.identity] = own
                taken.add(own.id)
            found.append(planned[point.identity])
        return found

    def add(self, wanted: Sequence[Point]) -> list[Point]:
        """Plan those points that are not planned yet; return all of them as they are planned.

        Needs the lock.
        """
        before, found = self.read_points(), self.match(wanted)
        known = {point.id for point in before}
        if added := [point for point in found if point.id not in known]:
            write_atomic(self.path, format_plan([*before, *added]))
        return found

    def extend(self, wanted: Sequence[Point]) -> tuple[list[Point], list[Point]]:
        """Plan those points that are not planned yet.

        Returns:
            the points added, and those planned before that are no longer wanted.
        """
        with self.lock():
            before = self.read_points()
            found = self.add(wanted)
        known, identities = {p.id for p in before}, {p.identity for p in wanted}
        added = [point for point in found if point.id not in known]
        return added, [point for point in before if point.identity not in identities]

    @cached_property
    def claims(self) -> Claims:
        """Who works on what."""
        return Claims(self.folder / "claims")

    def read_state(self, point: Point) -> State:
        """Return where a point stands."""
        return self.read_states([point])[point.id]

    def read_states(self, points: Sequence[Point]) -> dict[str, State]:
        """Return where points stand, by id."""
        taken = self.claims.find_taken()
        return {point.id: self._find_state(point, point.id in taken) for point in points}

    def _find_state(self, point: Point, taken: bool) -> State:
        if point.id in self._done:
            return "done"
        if point.run.summary.is_file():
            self._done.add(point.id)
            return "done"
        if self._failure_file(point).is_file():
            return "failed"
        if taken:
            return "running"
        return "interrupted" if point.run.config.is_file() else "planned"

    def find_unfinished(self, points: Sequence[Point]) -> list[Point]:
        """Return the points that are neither done nor failed."""
        states = self.read_states(points)
        return [point for point in points if states[point.id] not in ("done", "failed")]

    def describe(self, points: Sequence[Point]) -> str:
        """Return how many points stand where, in words."""
        counts = Counter(self.read_states(points).values())
        return ", ".join(f"{counts[state]} {state}" for state in counts)

    def read_summaries(self, points: Sequence[Point]) -> dict[str, dict[str, float]]:
        """Return the summaries of the points that are done, by the points' ids."""
        states = self.read_states(points)
        return {p.id: p.run.read_summary() for p in points if states[p.id] == "done"}

    def write_failure(self, point: Point, error: BaseException) -> None:
        """Write down why a point failed."""
        make_folder(self._failures)
        last = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else error
        text = f"{last}\n\n{''.join(traceback.format_exception(error))}"
        write_atomic(self._failure_file(point), text)

    def describe_failure(self, point: Point) -> str:
        """Return the line that says why a point failed, and where the rest stands."""
        path = self._failure_file(point)
        text = path.read_text(encoding="utf-8", errors="replace")
        return f"{text.partition(chr(10))[0]} ({path})"

    def forget_failures(self) -> None:
        """Let failed points run again."""
        for path in self._failures.glob("*.txt"):
            path.unlink(missing_ok=True)

    def _failure_file(self, point: Point) -> Path:
        return self._failures / f"{point.id}.txt"


def _find_id(point: Point, taken: set[str]) -> str:
    """Return an id for a new point: that of its own run folder, if a plan that is gone had it.

    Never that of a run that computes something else, as one may that was planned with the same
    keys left at other defaults.
    """
    folders = _find_folders(point)
    for folder_id, identity in folders.items():
        if identity == point.identity and folder_id not in taken:
            return folder_id
    digits = ID_DIGITS
    while (found := point.identity[:digits]) in taken or found in folders:
        digits += 1
    return found


def _find_folders(point: Point) -> dict[str, str]:
    """Return the run folders of a point's name: by id, the identity of what each computes."""
    own = point.run.folder
    prefix = own.name.removesuffix(point.id)
    found = {}
    for path in own.parent.glob(f"{prefix}*/config.yaml"):
        folder_id = path.parent.name.removeprefix(prefix)
        if re.fullmatch(rf"[0-9a-f]{{{ID_DIGITS},}}", folder_id):
            try:
                frozen = load_frozen(path.read_text(encoding="utf-8"), "it")
                found[folder_id] = compute_identity(frozen)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path} is damaged ({error}); remove its folder") from error
    return found
