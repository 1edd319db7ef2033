"""Spreads between repetitions, intervals, paired differences and tests. Imports no torch.

The unit of repetition is the seed. Where there are folds, a seed's value is the mean over its
folds, for these share most of their training rows and are not independent.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

__all__ = [
    "Difference",
    "Record",
    "Spread",
    "adjust_by_holm",
    "average_by_seed",
    "bootstrap_interval",
    "measure_spread",
    "paired_difference",
    "wilson_interval",
]

LEVEL = 0.95
_T = TypeVar("_T", float, np.ndarray)
_EXACT = 6  # values whose resamples are all enumerated: 462 multisets
_RESAMPLES = 10_000


class Record(NamedTuple):
    """A finished run.

    Attributes:
        variant: What it is a repetition of.
        seed: Of the run.
        fold: Of the data, where it has folds.
        folder: The run folder.
        summary: Its metrics, by name.
    """

    variant: str
    seed: int
    fold: int | None
    folder: Path
    summary: Mapping[str, float]


class Spread(NamedTuple):
    """A metric's mean over seeds, and how sure it is; all but the mean are None with one seed.

    Attributes:
        mean: Over the seeds.
        deviation: The standard deviation between seeds.
        error: The standard error of the mean.
        low: Where the 95% bootstrap interval of the mean begins.
        high: Where it ends.
    """

    mean: float
    deviation: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None


class Difference(NamedTuple):
    """A paired difference from the baseline, its 95% interval, and the p-value of no difference.

    `adjusted` is the p-value by Holm's method over all variants compared with the baseline.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None


def average_by_seed(values: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Return each seed's mean over its folds, from pairs of a seed and a fold's value."""
    seeds: dict[int, list[float]] = {}
    for seed, value in values:
        seeds.setdefault(seed, []).append(value)
    return {seed: fmean(of_seed) for seed, of_seed in seeds.items()}


def measure_spread(seeds: Mapping[int, float]) -> Spread | None:
    """Return the spread of a metric, given by seed; None if there is no seed."""
    values = list(seeds.values())
    if not values:
        return None
    if len(values) == 1:
        return Spread(values[0])
    deviation = stdev(values)
    error = deviation / math.sqrt(len(values))
    return Spread(fmean(values), deviation, error, *bootstrap_interval(values))


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean under resampling.

    All resamples are enumerated where there are up to six values; else 10,000 are drawn, always
    the same. The bounds are the smallest means at which the distribution reaches 2.5% and 97.5%.
    """
    data, n = np.asarray(values, dtype=float), len(values)
    if n <= _EXACT:
        chosen = list(itertools.combinations_with_replacement(range(n), n))
        means = data[np.array(chosen)].mean(1)
        weights = np.array([_count_orders(combination) for combination in chosen], dtype=float)
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


def adjust_by_holm(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """Return the same differences with their p-values adjusted for being tested together."""
    # Of m, the k-th smallest counts m - k + 1 times, and never less than those before it.
    tested = [(d.p, i) for i, d in enumerate(differences) if d is not None]
    ranked = sorted((p, i) for p, i in tested if p is not None)
    largest, result = 0.0, list(differences)
    for rank, (p, i) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        difference = result[i]
        assert difference is not None
        result[i] = difference._replace(adjusted=largest)
    return result


def wilson_interval(hits: _T, count: _T) -> tuple[_T, _T]:
    """Return Wilson's 95% interval of a share: honest, and within [0, 1], for few samples too.

    Args:
        hits: How many of them are; a number, or one for each of several shares.
        count: Of how many, at least one.
    """
    z = 1.96
    centre = (hits + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * np.sqrt(hits * (count - hits) / count + z**2 / 4)
    return centre - half, centre + half


def _count_orders(combination: Sequence[int]) -> int:
    """In how many orders a multiset can be drawn."""
    counts = [len(list(group)) for _, group in itertools.groupby(combination)]
    return math.factorial(len(combination)) // math.prod(map(math.factorial, counts))
