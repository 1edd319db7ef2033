"""Which finished runs an ablation's file asks for, and what a reader must know of the rest."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ugmm.errors import UserError, list_some, nearest
from ugmm.report.statistics import Record
from ugmm.report.tables import format_count
from ugmm.studies.ablation.definition import Ablation, name_repetition
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import ID_DIGITS, Point

__all__ = [
    "check_metric",
    "describe_lacking",
    "describe_published",
    "list_variants",
    "read_records",
]

Variants = Mapping[str, Mapping[str, Any]]
Repetition = Mapping[str, int]


def list_variants(ablation: Ablation, ledger: Ledger) -> Variants:
    """Return what each variant sets, by name; of a search, its trials, whatever they set."""
    return ablation.variants or {point.variant: {} for point in ledger.read_points()}


def read_records(
    ablation: Ablation, ledger: Ledger, published: Iterable[Record] = ()
) -> tuple[list[Record], list[str]]:
    """Read the summaries of the points that an ablation's file asks for.

    Args:
        ablation: The ablation.
        ledger: Of its runs.
        published: Runs that were published earlier; each that the file still asks for stands in
            where there is no finished run.

    Returns:
        the finished runs, in the order of the file, and sentences on those that are missing.

    Raises:
        UserError: If the plan or a summary is damaged.
    """
    variants, points = list_variants(ablation, ledger), ledger.read_points()
    current = _find_current(ablation, variants, points)
    kept = {(each.variant, each.seed, each.fold): each for each in published}
    records: list[Record] = []
    failed: list[str] = []
    missing: list[str] = []
    for variant, repetition in product(variants, ablation.repetitions):
        name = name_repetition(repetition)
        seed, fold = repetition["seed"], repetition.get("data.fold")
        point = current.get((variant, name))
        if point is None or not (summary := point.run.read_summary()):
            earlier = kept.get((variant, seed, fold))
            if earlier is not None and _is_asked(ablation, earlier, repetition):
                records.append(earlier)
                continue
            is_failed = point is not None and ledger.read_state(point) == "failed"
            (failed if is_failed else missing).append(f"{variant}, {name}")
            continue
        finite = {key: value for key, value in summary.items() if math.isfinite(value)}
        records.append(Record(variant, seed, fold, point.run.folder, finite))
    notes = _describe_finished(len(records), failed, missing)
    if moved := _find_moved(ablation, current):
        notes.append(
            "What these start from has changed since they were planned; `ugmm ablate` would run "
            f"them anew: {_join(moved)}."
        )
    if former := len(points) - len(current):
        are = "is" if former == 1 else "are"
        counted = format_count(former, "run")
        notes.append(f"{counted} of an earlier version of the file {are} left out.")
    return records, notes


def _is_asked(ablation: Ablation, record: Record, repetition: Repetition) -> bool:
    """Whether the file asks for this run now: its folder's name ends in what it computes."""
    settings = ablation.variants.get(record.variant)
    if settings is None:
        return False
    composed = ablation.compose_point(record.variant, settings, repetition)
    identity = record.folder.name.rpartition("-")[2]
    return len(identity) >= ID_DIGITS and composed.identity.startswith(identity)


def _find_current(
    ablation: Ablation, variants: Variants, points: Sequence[Point]
) -> dict[tuple[str, str], Point]:
    """Return the points that the file now asks for, by variant and repetition."""
    named: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        named.setdefault((point.variant, point.repetition), []).append(point)
    found: dict[tuple[str, str], Point] = {}
    for (variant, settings), repetition in product(variants.items(), ablation.repetitions):
        at = (variant, name_repetition(repetition))
        agreeing = [point for point in named.get(at, []) if point.agrees(settings)]
        if len(agreeing) > 1:  # planned before and after a change of the file
            identity = ablation.compose_point(variant, settings, repetition).identity
            agreeing = [point for point in agreeing if point.identity == identity] or agreeing
        if agreeing:
            found[at] = agreeing[-1]
    return found | _find_renamed(ablation, variants, points, found)


def _find_renamed(
    ablation: Ablation,
    variants: Variants,
    points: Sequence[Point],
    found: Mapping[tuple[str, str], Point],
) -> dict[tuple[str, str], Point]:
    """Return points of variants that were planned under other names, by what they compute.

    A variant has another name if that of a key in it has changed. Each is composed, which takes a
    twentieth of a second, so this looks only where both variants and points are left over.
    """
    used = {point.id for point in found.values()}
    unused = {point.identity: point for point in points if point.id not in used}
    known = {variant for variant, _ in found}
    renamed = {}
    for (variant, settings), repetition in product(variants.items(), ablation.repetitions):
        if unused and variant not in known:
            composed = ablation.compose_point(variant, settings, repetition)
            if (point := unused.get(composed.identity)) is not None:
                renamed[variant, name_repetition(repetition)] = point
    return renamed


def _find_moved(ablation: Ablation, current: Mapping[tuple[str, str], Point]) -> list[str]:
    """Return the variants whose points agree with the file, but not with what it starts from.

    One point of each is composed, which tells of all: that takes a twentieth of a second.
    """
    moved = []
    for variant, settings in ablation.variants.items():
        for repetition in ablation.repetitions:
            if (point := current.get((variant, name_repetition(repetition)))) is not None:
                composed = ablation.compose_point(variant, settings, repetition)
                moved += [variant] * (composed.identity != point.identity)
                break
    return moved


def describe_published(
    variants: Sequence[str], repetitions: Sequence[Repetition], records: Sequence[Record]
) -> list[str]:
    """Say which of the runs that an ablation's file asks for are not among those published.

    Args:
        variants: Of the file; a search has none, and all its trials are published.
        repetitions: Of the file.
        records: The published runs.
    """
    found = {_name_run(record) for record in records}
    wanted = [
        f"{variant}, {name_repetition(repetition)}"
        for variant, repetition in product(
            variants or dict.fromkeys(record.variant for record in records), repetitions
        )
    ]
    return _describe_finished(len(records), [], [name for name in wanted if name not in found])


def _describe_finished(finished: int, failed: list[str], missing: list[str]) -> list[str]:
    total = finished + len(failed) + len(missing)
    notes = [f"{finished} of {total} runs are finished."]
    if failed:
        notes.append(f"Failed, and left out: {_join(failed)}.")
    if missing:
        notes.append(f"Not finished, and left out: {_join(missing)}.")
    return notes


def describe_lacking(metric: str, records: Sequence[Record], *, of_all: bool) -> list[str]:
    """Say which finished runs lack a metric.

    Args:
        metric: A key of the summaries.
        records: The finished runs.
        of_all: Look at all runs, not only at those of variants of which others have it.
    """
    having = {record.variant for record in records if metric in record.summary}
    lacking = [
        _name_run(r)
        for r in records
        if metric not in r.summary and (of_all or r.variant in having)
    ]
    if not lacking:
        return []
    return [f"Finished, but without a finite {metric}, and left out of it: {_join(lacking)}."]


def check_metric(metric: str, records: Sequence[Record], path: Path) -> None:
    """Refuse a metric that no run has.

    Raises:
        UserError: Names those that are nearest.
    """
    known = {key for record in records for key in record.summary}
    if metric not in known:
        raise UserError(
            f"{path}: no run has the metric {metric!r}; {nearest(metric, sorted(known))}"
        )


def _name_run(run: Record) -> str:
    return f"{run.variant}, seed={run.seed}" + ("" if run.fold is None else f" fold={run.fold}")


def _join(names: Sequence[str]) -> str:
    return list_some(names, 5, separator="; ")
