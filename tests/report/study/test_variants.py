"""The statistics of an ablation, against SciPy, pandas and brute force."""

import io
import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ugmm.report.study.text import name_of, table_cells, variants_table
from ugmm.report.study.variants import (
    Record,
    bootstrap_interval,
    compare_variants,
    paired_difference,
)
from ugmm.studies.ablation import read_ablation

figures = st.floats(-100, 100).map(lambda value: round(value, 6))


def records(rng, variants=("a", "b", "c"), seeds=5, folds=None):
    return [
        Record(
            variant,
            seed,
            fold,
            Path(f"{variant}-{seed}-{fold}"),
            {"m": rng.normal(i), "other": rng.normal(), "seconds": rng.random(), "parameters": 7},
        )
        for i, variant in enumerate(variants)
        for seed in range(seeds)
        for fold in (range(folds) if folds else [None])
    ]


def frame(rows):
    return pd.DataFrame([{**r._asdict(), **r.figures} for r in rows])


@pytest.mark.parametrize("folds", [None, 4])
def test_means_and_deviations_are_those_of_pandas(folds):
    rows = records(np.random.default_rng(0), folds=folds)
    seeds = frame(rows).groupby(["variant", "seed"])[["m", "other"]].mean()
    for row in compare_variants(rows, "m", "max", "a", ["other", "none"]):
        own = seeds.loc[row.variant]
        assert row.metric.mean == pytest.approx(own["m"].mean())
        assert row.metric.deviation == pytest.approx(own["m"].std())
        assert row.report["other"].mean == pytest.approx(own["other"].mean())
        assert "none" not in row.report
        assert (row.runs, row.seeds, row.parameters) == (5 * (folds or 1), 5, 7)
        runs = frame(rows).query("variant == @row.variant")
        assert row.seconds == pytest.approx(runs["seconds"].mean())
        assert str(row.best) == str(runs.loc[runs["m"].idxmax(), "folder"])


def test_differences_are_those_of_scipy():
    rows = records(np.random.default_rng(1), seeds=6)
    table = frame(rows).pivot(index="seed", columns="variant", values="m")
    compared = {row.variant: row.difference for row in compare_variants(rows, "m", "max", "a")}
    assert compared.pop("a") is None
    raw = []
    for variant, difference in compared.items():
        test = scipy.stats.ttest_rel(table[variant], table["a"])
        low, high = test.confidence_interval()
        assert difference.mean == pytest.approx((table[variant] - table["a"]).mean())
        assert (difference.low, difference.high) == pytest.approx((low, high))
        assert difference.p == pytest.approx(test.pvalue)
        raw.append(difference.p)
    smallest, largest = sorted(raw)
    adjusted = sorted(difference.adjusted for difference in compared.values())
    assert adjusted == pytest.approx([min(1, 2 * smallest), max(min(1, 2 * smallest), largest)])


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


def test_only_common_seeds_are_compared():
    rows = [
        record
        for record in records(np.random.default_rng(4), variants=("a", "b"))
        if (record.variant, record.seed) not in {("a", 0), ("b", 4)}
    ]
    table = frame(rows).pivot(index="seed", columns="variant", values="m").dropna()
    (row,) = [row for row in compare_variants(rows, "m", "min", "a") if row.variant == "b"]
    assert len(table) == 3
    assert row.difference.mean == pytest.approx((table["b"] - table["a"]).mean())


def test_one_seed_has_a_mean_only():
    first, second = compare_variants(
        records(np.random.default_rng(5), variants=("a", "b"), seeds=1), "m", "max", "a"
    )
    assert first.metric[1:] == (None, None, None)
    assert second.difference.mean == pytest.approx(second.metric.mean - first.metric.mean)
    assert second.difference[1:] == (None, None, None, None)


def test_many_figures_stand_in_tables_that_fit_a_terminal():
    report = read_ablation("mnist_uncertainty").settings.report
    known = dict.fromkeys(["test/accuracy", *report], 0.5)
    found = [Record("a", seed, None, Path("a"), known) for seed in range(3)]
    rows = compare_variants(found, "test/accuracy", "max", "a", report)
    tables = table_cells(rows, "test/accuracy", report, "a")
    assert [name for cells in tables[1:] for name in cells.header[1:]] == list(
        map(name_of, report)
    )
    console = Console(width=110, file=io.StringIO())
    for cells in tables:
        console.print(variants_table(cells))
    assert all(name in console.file.getvalue() for name in report)
