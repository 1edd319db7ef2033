"""Comparing models on several tables: ranks, and tests over tables. Imports no torch.

The unit is the table, of which a model has one value, its mean. That ranks differ at all is tested
by Friedman's test, and ranks that differ by less than Nemenyi's critical difference are joined in
a diagram, as in J. Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR
7, 2006. Whether one model is better than each of some others is tested by Wilcoxon's signed ranks
with Holm's method: unlike a mean rank, it does not depend on who else is compared (A. Benavoli,
G. Corani and F. Mangili, "Should We Really Use Post-Hoc Tests Based on Mean-Ranks?", JMLR 17,
2016).
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

__all__ = ["Ranks", "cliques", "drop_rounding", "rank_models", "signed_rank_p"]

LEVEL = 0.05
_MOST_EXACT = 16  # differences whose signs are all enumerated
_DIGITS = 12  # behind the point: sums of figures below 100 are exact to more


class Ranks(NamedTuple):
    """How some models rank on some tables.

    Attributes:
        means: Each model's mean rank, 1 being the best: (k,).
        p: Of Friedman's test that all rank alike; None with fewer than three models or tables, or
            where all are equal on each.
        critical: What two mean ranks must differ by, by Nemenyi's test at 5%.
    """

    means: np.ndarray
    p: float | None
    critical: float


def drop_rounding(values: np.ndarray) -> np.ndarray:
    """Return values of which those are equal that differ by the rounding of sums alone."""
    return np.round(values, _DIGITS)


def rank_models(values: np.ndarray) -> Ranks:
    """Rank models by a metric of which more is better.

    Args:
        values: (tables, k); models that are equal on a table share their ranks there.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    n, k = values.shape
    values = drop_rounding(values)
    means = rankdata(-values, axis=1).mean(0)
    differ = min(n, k) > 2 and bool((values != values[:, :1]).any())
    p = float(friedmanchisquare(*values.T).pvalue) if differ else None
    quantile = float(studentized_range.ppf(1 - LEVEL, k, np.inf)) / math.sqrt(2)
    return Ranks(means, p, quantile * math.sqrt(k * (k + 1) / (6 * n)))


def cliques(means: Sequence[float], critical: float) -> list[tuple[int, ...]]:
    """Return the largest groups of models whose mean ranks are not told apart, two or more each.

    Args:
        means: Their mean ranks.
        critical: What these must differ by.

    Returns:
        The models' places in `means`, the best first.
    """
    order = sorted(range(len(means)), key=lambda model: means[model])
    found: list[tuple[int, ...]] = []
    for start, first in enumerate(order):
        group = [m for m in order[start:] if means[m] - means[first] < critical]
        if len(group) > 1 and not (found and set(group) <= set(found[-1])):
            found.append(tuple(group))
    return found


def signed_rank_p(differences: Sequence[float]) -> float | None:
    """Return the p-value of Wilcoxon's signed-rank test, exact also where differences tie.

    Args:
        differences: One a table; those that are 0 are left out.

    Returns:
        Two-sided; None where nothing differs.
    """
    from scipy.stats import rankdata, wilcoxon

    told = drop_rounding(np.array(differences, dtype=float))
    told = told[told != 0]
    if not len(told):
        return None
    if len(told) > _MOST_EXACT:
        return float(wilcoxon(told).pvalue)
    ranks = rankdata(np.abs(told))
    signs = np.array(list(product((0, 1), repeat=len(told))))
    centre = ranks.sum() / 2
    reached = abs(ranks[told > 0].sum() - centre)
    return float((np.abs(signs @ ranks - centre) >= reached - 1e-9).mean())
