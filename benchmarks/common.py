"""What the benchmarks share: alternating timings, tables, and a description of the machine."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

SLOW = 1.0  # seconds: a step this long gets 3 repetitions, and fills the caches by itself
LEAST = 3  # repetitions
PACKAGES = ("torch", "numba", "triton", "numpy", "lightning", "spflow")

Step = Callable[[], tuple[float, ...]]


class Spread(NamedTuple):
    """Quartiles of some times, and how many there were."""

    low: float
    median: float
    high: float
    count: int

    def milliseconds(self) -> list[str]:
        """The median, the quartiles and the repetitions, as cells of a table."""
        low, median, high = (f"{1e3 * value:.3f}" for value in self[:3])
        return [median, f"{low}..{high}", str(self.count)]


def spread(values: list[float]) -> Spread:
    """The quartiles of `values`; of one value alone, itself three times."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return Spread(low, middle, high, len(values))


def spread_of_sums(steps: list[tuple[float, ...]]) -> Spread:
    """The spread of whole steps, whose parts were timed."""
    return spread([sum(parts) for parts in steps])


def medians(steps: list[tuple[float, ...]]) -> list[float]:
    """The median of each part of the steps."""
    return [statistics.median(part) for part in zip(*steps, strict=True)]


def alternate(
    steps: Mapping[str, Step], seconds: float, most: int = 300
) -> tuple[dict[str, list[tuple[float, ...]]], dict[str, str]]:
    """Time contenders in turn, so that a noisy moment of the machine meets all of them.

    Each is called once to compile what it compiles. From then on, in every round, it is called
    once to fill the caches anew after the others and once to be timed; a slow one is only timed,
    in the first three rounds.

    Args:
        steps: By name, what does one step and returns the seconds of its parts.
        seconds: When no further round begins.
        most: Rounds.

    Returns:
        by name, the timed steps; and, of those that failed, why.
    """
    failures = {}
    for name, step in steps.items():
        try:
            step()
        except Exception as error:  # whatever it is, the others go on
            failures[name] = f"{type(error).__name__}: {(str(error) or '-').splitlines()[0][:60]}"
    results: dict[str, list[tuple[float, ...]]] = {n: [] for n in steps if n not in failures}
    deadline, rounds = time.perf_counter() + seconds, 0
    while rounds < LEAST or (time.perf_counter() < deadline and rounds < most):
        for name, done in results.items():
            if rounds >= LEAST and sum(done[-1]) > SLOW:
                continue
            parts = steps[name]()
            done.append(steps[name]() if sum(parts) <= SLOW else parts)
        rounds += 1
    return results, failures


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


def say(what: str) -> None:
    """Show what is going on, in a terminal, until the next line takes its place."""
    if sys.stdout.isatty():
        print(f"\r\033[K... {what}" if what else "\r\033[K", end="", flush=True)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    result = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    result.add_argument("--quick", action="store_true", help="fewer repetitions and sizes")
    result.add_argument("--save", type=Path, help="also write what was measured, as JSON")
    return result


def save(
    path: Path | None, part: str, tables: list[Table], data: Any, device: str = "cpu"
) -> None:
    """Write a part's results to `path`, if there is one, for `python benchmarks --add`."""
    if path is not None:
        plain = [table.plain() for table in tables]
        content = {"part": part, "machine": machine(device), "versions": versions()}
        path.write_text(json.dumps({**content, "tables": plain, "data": data}, indent=1))


def announce(device: str = "cpu") -> None:
    """Print what is measured on, unless the run of all parts has said so."""
    if "UGMM_BENCH_ALL" not in os.environ:
        print(f"{machine(device)}; {versions()}")


def machine(device: str = "cpu") -> str:
    """The processor or graphics card, and how much of it is used."""
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        return f"{card.name}, {card.multi_processor_count} SMs"
    return f"{cpu_name()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """What the machine calls its processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def versions() -> str:
    """Of Python and of those packages that are installed."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def mib_available() -> float:
    """Free memory."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) / 1024


def mib_of_process(key: str) -> float:
    """A figure of this process's memory: `VmRSS`, or its peak `VmHWM`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def mib_at_peak(run: Callable[[], object]) -> float:
    """How far the resident memory of this process rises while `run` runs."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = mib_of_process("VmRSS")
    run()
    return max(0.0, mib_of_process("VmHWM") - before)


def in_fresh_process(script: str, *arguments: object) -> float | None:
    """The number that a script prints last, run with hidden `arguments`; None if it failed."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None
