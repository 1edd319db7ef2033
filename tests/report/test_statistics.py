"""Spreads, intervals and differences, against SciPy, NumPy and brute force."""

import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ugmm.report.statistics import (
    Difference,
    adjust_by_holm,
    average_by_seed,
    bootstrap_interval,
    measure_spread,
    paired_difference,
)

figures = st.floats(-100, 100).map(lambda value: round(value, 6))


def test_folds_are_averaged_before_seeds_are_compared():
    folds = [(0, 0.6), (1, 0.8), (0, 0.8), (1, 0.8), (2, 0.9), (2, 0.9)]
    seeds = average_by_seed(folds)
    assert seeds == {0: pytest.approx(0.7), 1: pytest.approx(0.8), 2: pytest.approx(0.9)}
    found = measure_spread(seeds)
    assert found.mean == pytest.approx(0.8)
    assert found.deviation == pytest.approx(0.1)
    assert found.error == pytest.approx(0.1 / 3**0.5)
    assert (found.low, found.high) == bootstrap_interval(list(seeds.values()))


def test_one_seed_has_no_spread_and_none_has_no_mean():
    assert measure_spread({3: 0.7}) == (0.7, None, None, None, None)
    assert measure_spread(average_by_seed([])) is None


def test_p_values_are_adjusted_as_holm_does():
    raw = [0.01, None, 0.04, 0.03, 0.5]
    differences = [Difference(0.0, None, None, p, None) for p in raw]
    adjusted = adjust_by_holm([None, *differences])
    assert adjusted[0] is None
    expected = [0.04, None, 0.09, 0.09, 0.5]  # 4 * 0.01; 3 * 0.03; at least that of the one before
    assert [d.adjusted for d in adjusted[1:]] == pytest.approx(expected)
    assert [d.p for d in adjusted[1:]] == raw
    assert all(d.adjusted is None for d in differences)


@given(st.lists(figures, min_size=2, max_size=4))
def test_few_values_are_resampled_in_all_ways(values):
    means = sorted(np.mean(draw) for draw in itertools.product(values, repeat=len(values)))
    low = means[math.ceil(0.025 * len(means)) - 1]
    high = means[math.ceil(0.975 * len(means)) - 1]
    assert bootstrap_interval(values) == pytest.approx((low, high), abs=1e-9)


def test_many_values_are_resampled_as_scipy_does():
    values = np.random.default_rng(2).gamma(2.0, size=40)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=50_000, rng=3
    ).confidence_interval
    error = values.std() / math.sqrt(40)
    assert bootstrap_interval(values) == pytest.approx(tuple(theirs), abs=0.1 * error)
    assert bootstrap_interval(values) == bootstrap_interval(values)


@given(st.dictionaries(st.integers(0, 9), figures), st.dictionaries(st.integers(0, 9), figures))
def test_any_differences_give_numbers(values, base):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        difference = paired_difference(values, base)
    common = sorted(values.keys() & base.keys())
    if not common:
        assert difference is None
        return
    assert difference.mean == pytest.approx(np.mean([values[s] - base[s] for s in common]))
    if len(common) > 1:
        assert difference.low <= difference.mean <= difference.high
        assert 0 <= difference.p <= 1


def test_equal_runs_do_not_differ():
    assert paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0})[:4] == (0.0, 0.0, 0.0, 1.0)
