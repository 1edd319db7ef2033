"""What the repetitions of an ablation's variants say: spreads, intervals, differences, tests.

The unit of repetition is the seed. Where there are folds, a seed's figure is the mean over its
folds, for these share most of their training rows and are not independent. Imports no torch.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

__all__ = [
    "Difference",
    "Interval",
    "Record",
    "Row",
    "bootstrap_interval",
    "compare_variants",
    "paired_difference",
]

LEVEL = 0.95
_EXACT = 6  # values whose resamples are all enumerated: 462 multisets
_RESAMPLES = 10_000


class Record(NamedTuple):
    """A finished run.

    Attributes:
        variant: What it is a repetition of.
        seed: Of the run.
        fold: Of the data, where it has folds.
        folder: The run folder.
        figures: Its summary.
    """

    variant: str
    seed: int
    fold: int | None
    folder: Path
    figures: Mapping[str, float]


class Interval(NamedTuple):
    """A mean, the standard deviation between seeds, and a 95% interval; None with one seed."""

    mean: float
    deviation: float | None
    low: float | None
    high: float | None


class Difference(NamedTuple):
    """A paired difference from the baseline, with its 95% interval and the p-value of none.

    `adjusted` is the p-value by Holm's method over all variants compared with the baseline.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        variant: Its name.
        runs: How many runs have the metric.
        seeds: How many seeds they have between them.
        metric: Its spread.
        difference: From the baseline; None for the baseline itself, and where no seed is common.
        report: Mean and standard deviation of further figures; those that no run has are missing.
        seconds: Mean of a run's training.
        parameters: Of a network.
        best: The folder of the run that is best by the metric.
    """

    variant: str
    runs: int
    seeds: int
    metric: Interval
    difference: Difference | None
    report: dict[str, Interval]
    seconds: float | None
    parameters: int | None
    best: Path


def compare_variants(
    records: Sequence[Record],
    metric: str,
    goal: Literal["max", "min"],
    baseline: str,
    report: Sequence[str] = (),
) -> list[Row]:
    """Return one row for each variant that has the metric, in the order of the records.

    Args:
        records: The finished runs.
        metric: What is compared, a key of the summaries.
        goal: Whether more or less of it is better.
        baseline: The variant that others are compared with.
        report: Further keys to tabulate.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if metric in record.figures:
            groups.setdefault(record.variant, []).append(record)
    base = groups.get(baseline, [])
    best = max if goal == "max" else min
    rows = []
    for variant, runs in groups.items():
        seeds = _by_seed(runs, metric)
        others = {name: spread for name in report if (spread := _spread(_by_seed(runs, name)))}
        own = _spread(seeds)
        assert own is not None
        rows.append(
            Row(
                variant,
                len(runs),
                len(seeds),
                own,
                None if variant == baseline else _difference(runs, base, metric),
                others,
                _mean(run.figures.get("seconds") for run in runs),
                _whole(_mean(run.figures.get("parameters") for run in runs)),
                best(runs, key=lambda run: run.figures[metric]).folder,
            )
        )
    return _adjusted(rows)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean under resampling.

    All resamples are enumerated where there are up to six values; else 10,000 are drawn, always
    the same. The bounds are the smallest means at which the distribution reaches 2.5% and 97.5%.
    """
    data, n = np.asarray(values, dtype=float), len(values)
    if n <= _EXACT:
        chosen = list(itertools.combinations_with_replacement(range(n), n))
        means = data[np.array(chosen)].mean(1)
        weights = np.array([_arrangements(combination) for combination in chosen], dtype=float)
    else:
        draws = np.random.default_rng(0).integers(n, size=(_RESAMPLES, n))
        means, weights = data[draws].mean(1), np.ones(_RESAMPLES)
    order = np.argsort(means, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    tail = (1 - LEVEL) / 2
    low, high = np.searchsorted(reached, [tail - 1e-12, 1 - tail - 1e-12])
    return float(means[order[low]]), float(means[order[high]])


def paired_difference(values: Mapping[int, float], base: Mapping[int, float]) -> Difference | None:
    r"""Compare by the seeds that both have: Student's interval and test of the mean difference.

    With differences :math:`d_1, ..., d_n` of mean :math:`\bar d` and standard deviation :math:`s`:
    :math:`t = \bar d \sqrt n / s` with n - 1 degrees of freedom.

    Returns:
        None if no seed is common; without interval and p-value if only one is.
    """
    common = [seed for seed in values if seed in base]
    differences = [values[seed] - base[seed] for seed in common]
    if not differences:
        return None
    mean, n = fmean(differences), len(differences)
    if n == 1:
        return Difference(mean, None, None, None, None)
    error = stdev(differences) / math.sqrt(n)
    with np.errstate(divide="ignore"):
        t = np.divide(abs(mean), error) if mean else 0.0  # infinite where all differ by as much
    p = 2 * float(stdtr(n - 1, -t))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    return Difference(mean, mean - half, mean + half, p, None)


def _difference(runs: Sequence[Record], base: Sequence[Record], name: str) -> Difference | None:
    """Compare by the seeds and folds that both have: a missing fold would shift a seed's mean."""
    places = {(r.seed, r.fold) for r in runs} & {(r.seed, r.fold) for r in base}
    values, others = (
        _by_seed([r for r in group if (r.seed, r.fold) in places], name) for group in (runs, base)
    )
    return paired_difference(values, others)


def _adjusted(rows: list[Row]) -> list[Row]:
    """Fill in Holm's p-values."""
    # Of m, the k-th smallest counts m - k + 1 times, and never less than those before it.
    tested = [(row.difference.p, i) for i, row in enumerate(rows) if row.difference is not None]
    ranked = sorted((p, i) for p, i in tested if p is not None)
    largest, result = 0.0, list(rows)
    for rank, (p, i) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        difference = rows[i].difference
        assert difference is not None
        result[i] = replace(rows[i], difference=difference._replace(adjusted=largest))
    return result


def _by_seed(runs: Sequence[Record], name: str) -> dict[int, float]:
    """A figure's mean over the folds of each seed; runs without it are left out."""
    seeds: dict[int, list[float]] = {}
    for run in runs:
        if name in run.figures:
            seeds.setdefault(run.seed, []).append(run.figures[name])
    return {seed: fmean(values) for seed, values in seeds.items()}


def _spread(seeds: Mapping[int, float]) -> Interval | None:
    values = list(seeds.values())
    if not values:
        return None
    if len(values) == 1:
        return Interval(values[0], None, None, None)
    return Interval(fmean(values), stdev(values), *bootstrap_interval(values))


def _arrangements(combination: Sequence[int]) -> int:
    """In how many orders a multiset can be drawn."""
    counts = [len(list(group)) for _, group in itertools.groupby(combination)]
    return math.factorial(len(combination)) // math.prod(map(math.factorial, counts))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
