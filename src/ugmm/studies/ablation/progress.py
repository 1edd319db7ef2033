"""What the console says of an ablation that runs: a line whenever a point's state changes."""

import time
from collections.abc import Mapping

from ugmm.report.escaping import for_terminal
from ugmm.report.tables import format_count, format_time
from ugmm.studies.ablation.ledger import Ledger, State
from ugmm.studies.ablation.points import Point
from ugmm.terminal import say

__all__ = ["Progress", "describe_left"]

_ENDED: tuple[State, ...] = ("done", "failed")


class Progress:
    """Looks at an ablation's points, and says what has become of them since the last look.

    Arguments:
        ledger: Holds the points, of which other processes may run some.
        total: How many there will be at the end, if more are to be planned; None if only time will
            tell.
    """

    def __init__(self, ledger: Ledger, total: int | None = 0) -> None:
        self.ledger, self._least = ledger, total
        self._states = ledger.read_states(ledger.read_points())
        self._began = time.monotonic()
        self._starts: dict[str, float] = {}
        self._done_before = self._count("done")
        self.told: set[str] = set()  # the ids of points whose failure has been told

    def open(self) -> None:
        """Say where all stands before this process adds to it."""
        ended = [f"{n} {state}, " for state in _ENDED if (n := self._count(state))]
        left = describe_left(self._states, self._total) or "more to come"
        logs = self.ledger.folder / "logs"
        _say(f"{format_count(self._total, 'point')}: {''.join(ended)}{left}; logs in {logs}")

    def look(self) -> None:
        """Say in a line each which points have started, ended or failed."""
        points = self.ledger.read_points()
        states = self.ledger.read_states(points)
        for point in points:
            state, before = states[point.id], self._states.get(point.id, "planned")
            self._states[point.id] = state
            if state != before:
                self._tell(point, state)

    @property
    def _total(self) -> int:
        return max(self._least or 0, len(self._states))

    def _count(self, state: State) -> int:
        return sum(found == state for found in self._states.values())

    def _tell(self, point: Point, state: State) -> None:
        name = f"{point.variant}, {point.repetition}"
        now = time.monotonic()
        if state == "running":
            self._starts[point.id] = now
            _say(f"started: {name}")
        elif state == "done":
            began = self._starts.get(point.id)  # another process may have been quicker
            took = "" if began is None else f" ({format_time(now - began)})"
            of = "" if self._least is None else f" of {self._total}"
            _say(f"{self._count('done')}{of} done: {name}{took}{self._left(now)}")
        elif state == "failed":
            self.told.add(point.id)
            _say(f"failed: {name}: {self.ledger.describe_failure(point)}")
        else:
            _say(f"given up: {name}, which the next worker goes on with")

    def _left(self, now: float) -> str:
        """Say how long the rest may take, by those that ended meanwhile."""
        left = self._total - self._count("done") - self._count("failed")
        new = self._count("done") - self._done_before
        if not left or not new or self._least is None:
            return ""
        seconds = (now - self._began) / new * left
        return f"; about {format_time(float(f'{seconds:.2g}'))} left"


def describe_left(states: Mapping[str, State], total: int) -> str:
    """Say how many points are left to do, and how many others run; empty if there are none.

    Args:
        states: Of the points that are planned, by id.
        total: How many there will be.
    """
    elsewhere = sum(state == "running" for state in states.values())
    left = total - elsewhere - sum(state in _ENDED for state in states.values())
    parts = [f"{left} left"] * bool(left) + [f"{elsewhere} running elsewhere"] * bool(elsewhere)
    return ", ".join(parts)


def _say(line: str) -> None:
    say(for_terminal(line))
