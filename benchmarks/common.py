"""What the benchmarks share: clocks, alternating timings, and tables. Imports nothing heavy."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

SLOW = 1.0  # seconds: a step this long gets 3 repetitions, and fills the caches by itself
LEAST = 3  # repetitions


class Lap(NamedTuple):
    """Seconds of the clock on the wall, and of this process's work on all its threads."""

    wall: float
    cpu: float


Step = Callable[[], list[Lap]]


def now() -> Lap:
    """What the clocks show; a graphics card that is in use has done its work by then."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return Lap(time.perf_counter(), time.process_time())


def between(*moments: Lap) -> list[Lap]:
    """The laps from each moment to the next."""
    return [Lap(late.wall - early.wall, late.cpu - early.cpu) for early, late in pairwise(moments)]


class Spread(NamedTuple):
    """Quartiles of some times, and how many there were."""

    low: float
    median: float
    high: float
    count: int


def spread(values: list[float]) -> Spread:
    """The quartiles of `values`; of one value alone, itself three times."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return Spread(low, middle, high, len(values))


class Timing(NamedTuple):
    """What the steps of a contender took, in seconds.

    Attributes:
        cpu: Of whole steps, the process's own work.
        wall: Of whole steps, by the clock on the wall.
        seconds: The one of the two that counts.
        parts: Medians of the work of each of their laps.
    """

    cpu: Spread
    wall: Spread
    seconds: Spread
    parts: list[float]

    @classmethod
    def of(cls, steps: list[list[Lap]], by_wall: bool = False) -> "Timing":
        """Sum up timed steps."""
        cpu = spread([sum(lap.cpu for lap in laps) for laps in steps])
        wall = spread([sum(lap.wall for lap in laps) for laps in steps])
        parts = [statistics.median(lap.cpu for lap in laps) for laps in zip(*steps, strict=True)]
        return cls(cpu, wall, wall if by_wall else cpu, parts)


def alternate(
    steps: Mapping[Any, Step], seconds: float, most: int = 300, warm: bool = True
) -> tuple[dict[Any, list[list[Lap]]], dict[Any, str]]:
    """Time contenders in turn, so that a noisy moment of the machine meets all of them.

    Each is called once to compile what it compiles. From then on, in every round, it is called
    once to fill the caches anew after the others and once to be timed; a slow one is only timed,
    in the first three rounds.

    Args:
        steps: By name, what does one step and returns its laps.
        seconds: When, after the first three rounds, no further one begins.
        most: Rounds.
        warm: Whether a step comes before those that are timed at all; else all are timed.

    Returns:
        by name, the timed steps; and, of those that failed, why.
    """
    failures = {}
    for name, step in steps.items() if warm else ():
        say(f"{name}: the first step")
        try:
            step()
        except Exception as error:  # whatever it is, the others go on
            failures[name] = described(error)
    results: dict[Any, list[list[Lap]]] = {n: [] for n in steps if n not in failures}
    deadline, rounds = 0.0, 0
    while rounds < min(LEAST, most) or (time.perf_counter() < deadline and rounds < most):
        for name, done in results.items():
            if rounds >= LEAST and sum(lap.cpu for lap in done[-1]) > SLOW:
                continue
            say(f"{name}: round {rounds + 1}")
            laps = steps[name]()
            again = warm and sum(lap.cpu for lap in laps) <= SLOW
            done.append(steps[name]() if again else laps)
        rounds += 1
        if rounds == LEAST:  # the slow ones are done
            deadline = time.perf_counter() + seconds
    return results, failures


class BenchError(Exception):
    """An error whose text says all there is to say."""


def described(error: Exception) -> str:
    """An error on one short line."""
    if isinstance(error, BenchError):
        return str(error)
    return f"{type(error).__name__}: {(str(error) or '-').splitlines()[0][:80]}"


class Table:
    """Rows that are printed as they are added, and kept.

    Arguments:
        title: What it shows.
        columns: Headings, each with the width of its column: `"batch:5"`.
        note: How to read it.
    """

    def __init__(self, title: str, columns: list[str], note: str = "") -> None:
        self.title, self.note = title, note
        self.columns = [column.rpartition(":")[0] for column in columns]
        self.widths = [max(int(c.rpartition(":")[2]), len(c.rpartition(":")[0])) for c in columns]
        self.rows: list[list[str]] = []
        print(f"\n{title}" + (f"\n{note}" if note else ""))
        self._print(self.columns)

    def add(self, *cells: Any) -> None:
        """Print a row; missing cells at its end are empty."""
        say("")
        row = [str(cell) for cell in cells]
        self.rows.append(row + [""] * (len(self.columns) - len(row)))
        self._print(row)

    def _print(self, cells: list[str]) -> None:
        # A text may run over the rest of its row, as a failure does.
        placed = zip(cells, self.widths, strict=False)
        print("  ".join(f"{cell:>{width}}" for cell, width in placed).rstrip(), flush=True)

    def plain(self) -> dict[str, Any]:
        """The table for a JSON file."""
        return {
            "title": self.title,
            "note": self.note,
            "columns": self.columns,
            "rows": self.rows,
        }


def markdown(table: dict[str, Any]) -> list[str]:
    """The lines of a Markdown file that show a table made plain."""
    lines = [f"### {table['title']}", ""]
    if table["note"]:
        lines += [table["note"].replace("\n", " "), ""]
    numbers = [
        f"{'---:' if any(row[i][:1].isdigit() for row in table['rows']) else '---'}"
        for i in range(len(table["columns"]))
    ]
    rows = [table["columns"], numbers, *table["rows"]]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def milliseconds(seconds: float) -> str:
    """Seconds as a cell in milliseconds, with as many digits as mean something."""
    value = 1e3 * seconds
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.3f}"


def say(what: str) -> None:
    """Show what is going on, in a terminal, until the next line takes its place."""
    if sys.stdout.isatty():
        print(f"\r\033[K... {what}" if what else "\r\033[K", end="", flush=True)
