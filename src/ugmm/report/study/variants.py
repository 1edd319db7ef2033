"""What the repetitions of an ablation's variants say of them, a row each. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ugmm.metrics import Goal
from ugmm.report.statistics import (
    Difference,
    Record,
    Spread,
    adjust_by_holm,
    average_by_seed,
    measure_spread,
    paired_difference,
)

__all__ = ["Row", "compare_variants", "family_of", "find_counterparts", "size_of"]


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        variant: Its name.
        runs: How many runs have the metric.
        seeds: How many seeds they have between them.
        metric: Its spread.
        against: The variant that it is compared with; None if it is compared with none.
        difference: From that one; None without one, and where no seed is common.
        report: The spreads of further metrics; those that no run has are missing.
        seconds: Mean of a run's training.
        parameters: Of a network.
        best: The folder of the run that is best by the metric.
    """

    variant: str
    runs: int
    seeds: int
    metric: Spread
    against: str | None
    difference: Difference | None
    report: dict[str, Spread]
    seconds: float | None
    parameters: int | None
    best: Path


def family_of(variant: str) -> str:
    """Return the family that a variant belongs to: the first word of its name."""
    return variant.partition(" ")[0]


def size_of(variant: str) -> str:
    """Return the size of a variant among its family: what its name has after the first word."""
    return variant.partition(" ")[2]


def find_counterparts(variants: Iterable[str], baseline: str) -> dict[str, str] | None:
    """Return by variant the one of the baseline's family that has the same size.

    Such are alike in their names but for the first word, which is the family.

    Args:
        variants: Their names.
        baseline: A variant; to its family the others are compared, size by size.

    Returns:
        None if no two are of one size.
    """
    found: dict[str, dict[str, str]] = {}
    for variant in variants:
        found.setdefault(family_of(variant), {})[size_of(variant)] = variant
    sizes = found.pop(family_of(baseline), {})
    pairs = {
        variant: sizes[size]
        for others in found.values()
        for size, variant in others.items()
        if size in sizes
    }
    return pairs or None


def compare_variants(
    records: Sequence[Record],
    metric: str,
    goal: Goal,
    baseline: str,
    report: Sequence[str] = (),
    counterparts: Mapping[str, str] | None = None,
) -> list[Row]:
    """Return one row for each variant that has the metric, in the order of the records.

    Args:
        records: The finished runs.
        metric: What is compared, a key of the summaries.
        goal: Whether more or less of it is better.
        baseline: The variant that others are compared with.
        report: Further keys to tabulate.
        counterparts: In the baseline's place, by variant the one that it is compared with.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if metric in record.summary:
            groups.setdefault(record.variant, []).append(record)
    if counterparts is None:
        counterparts = {variant: baseline for variant in groups if variant != baseline}
    against = [counterparts.get(variant) for variant in groups]
    differences = adjust_by_holm(
        [
            None if base is None else _difference(runs, groups.get(base, []), metric)
            for runs, base in zip(groups.values(), against, strict=True)
        ]
    )
    best = max if goal == "max" else min
    rows = []
    for (variant, runs), base, difference in zip(
        groups.items(), against, differences, strict=True
    ):
        seeds = _by_seed(runs, metric)
        spread = measure_spread(seeds)
        assert spread is not None
        further = {name: measure_spread(_by_seed(runs, name)) for name in report}
        parameters = _mean(run.summary.get("parameters") for run in runs)
        rows.append(
            Row(
                variant,
                len(runs),
                len(seeds),
                spread,
                base,
                difference,
                {name: found for name, found in further.items() if found is not None},
                _mean(run.summary.get("seconds") for run in runs),
                None if parameters is None else round(parameters),
                best(runs, key=lambda run: run.summary[metric]).folder,
            )
        )
    return rows


def _difference(runs: Sequence[Record], base: Sequence[Record], name: str) -> Difference | None:
    """Compare by the seeds and folds that both have: a missing fold would shift a seed's mean."""
    places = {(r.seed, r.fold) for r in runs} & {(r.seed, r.fold) for r in base}
    values, others = (
        _by_seed([r for r in group if (r.seed, r.fold) in places], name) for group in (runs, base)
    )
    return paired_difference(values, others)


def _by_seed(runs: Sequence[Record], name: str) -> dict[int, float]:
    """Return a metric's mean over the folds of each seed; runs without it are left out."""
    return average_by_seed((run.seed, run.summary[name]) for run in runs if name in run.summary)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
