"""Cases: what is timed against what, in which of the trees, and the table that shows it."""

import contextlib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from common import Table, Timing, alternate, milliseconds, say
from trees import Worker, commit_of

NOW, BEFORE = "now", "before"
COLUMNS = ("case:16", "contender:34", "CPU ms:9", "quartiles:18", "wall ms:9", "reps:4", "times:7")


class Case(NamedTuple):
    """Contenders that are timed in turn.

    Attributes:
        name: What they all do.
        ours: The contenders of every tree.
        peers: Those of this tree alone.
        seconds: When, after the first rounds, no further one begins.
    """

    name: str
    ours: list[str]
    peers: list[str]
    seconds: float


class Measured(NamedTuple):
    """What a part found: tables to show, and records to look figures up in.

    A record has a part, a case, a contender, a tree, and seconds or another figure.
    """

    tables: list[Table]
    records: list[dict[str, Any]]


def label(contender: str, tree: str, trees: dict[str, Path]) -> str:
    """A contender's name in a table: that of another tree with its commit."""
    return contender if tree == NOW else f"{contender} @ {commit_of(trees[tree])}"


def run_part(part: ModuleType, trees: dict[str, Path], quick: bool, device: str) -> Measured:
    """Time the cases of a part, in one process for each tree."""
    columns = [*COLUMNS, *getattr(part, "COLUMNS", ())]
    table, records = Table(part.TITLE, columns, part.NOTE), []
    with contextlib.ExitStack() as stack:
        workers = {tree: stack.enter_context(Worker(path)) for tree, path in trees.items()}
        for case in part.cases(quick, device):
            records += time_case(part, case, workers, device, table, trees)
    measured = Measured([table], records)
    if more := getattr(part, "more", None):
        found = more(trees, quick, device)
        measured = Measured(measured.tables + found.tables, records + found.records)
    return measured


def time_case(
    part: ModuleType,
    case: Case,
    workers: dict[str, Worker],
    device: str,
    table: Table,
    trees: dict[str, Path],
) -> list[dict[str, Any]]:
    """Time one case, and add its rows; returns its records."""
    say(f"{case.name}: timing")
    by_wall = device != "cpu" or getattr(part, "BY_WALL", False)
    steps = {}
    for contender in [*case.ours, *case.peers]:
        for tree, worker in workers.items():
            if tree == NOW or contender in case.ours:
                arguments = (part.__name__, case.name, contender, device)
                steps[contender, tree] = lambda w=worker, a=arguments: w.step(*a)
    results, failed = alternate(steps, case.seconds)
    for worker in workers.values():
        worker.call("trees", "forget")
    timings = {key: Timing.of(laps, by_wall) for key, laps in results.items()}
    peers = {contender: t for (contender, tree), t in timings.items() if tree == NOW}
    first = peers.get([*case.ours, *case.peers][0])
    records = []
    for contender, tree in steps:
        shown = label(contender, tree, trees)
        if (contender, tree) in failed:
            table.add(case.name, shown, failed[contender, tree])
            continue
        timing = timings[contender, tree]
        cells = part.cells(case.name, contender, timing, peers) if hasattr(part, "cells") else []
        table.add(case.name, shown, *times(timing, first), *cells)
        records.append(
            {"part": part.__name__, "case": case.name, "contender": contender, "tree": tree}
            | {"seconds": timing.seconds.median, "cells": cells}
        )
    return records


def times(timing: Timing, first: Timing | None) -> list[str]:
    """The cells of the columns that all parts have; ratios are to the first contender."""
    ratio = f"{timing.seconds.median / first.seconds.median:.2f}x" if first else "-"
    quartiles = f"{milliseconds(timing.seconds.low)}..{milliseconds(timing.seconds.high)}"
    cpu, wall = milliseconds(timing.cpu.median), milliseconds(timing.wall.median)
    return [cpu, quartiles, wall, str(timing.cpu.count), ratio]
