"""The rows of an ablation, against SciPy and pandas."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from rich.console import Console

from ugmm.metrics import label_column
from ugmm.report.statistics import Record
from ugmm.report.study.text import caption, conclusion, table_cells, variants_table
from ugmm.report.study.variants import compare_variants
from ugmm.report.tables import NONE
from ugmm.studies.ablation import read_ablation


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
    return pd.DataFrame([{**r._asdict(), **r.summary} for r in rows])


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


def test_the_only_variant_is_compared_with_nothing():
    rows = compare_variants(records(np.random.default_rng(0), variants=("a",)), "m", "max", "a")
    said = conclusion(rows, "m", "max", "a")
    assert said.endswith("; there is no other variant to compare it with.")


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


def test_counterparts_are_compared_pair_by_pair():
    rows = records(np.random.default_rng(2), variants=("u 1", "u 2", "m 1", "m 2", "m 4"))
    table = frame(rows).pivot(index="seed", columns="variant", values="m")
    pairs = {"m 1": "u 1", "m 2": "u 2"}
    found = compare_variants(rows, "m", "max", "u 1", (), pairs)
    assert [row.against for row in found] == [None, None, "u 1", "u 2", None]
    raw = [scipy.stats.ttest_rel(table[one], table[other]).pvalue for one, other in pairs.items()]
    assert [row.difference.p for row in found[2:4]] == pytest.approx(raw)
    assert min(row.difference.adjusted for row in found[2:4]) == pytest.approx(2 * min(raw))
    (cells,) = table_cells(found, "m", (), "u 1")
    assert [row[3][:8] for row in cells.rows[:2]] == ["baseline", "baseline"]
    assert cells.rows[4][3] == NONE
    assert "Against u of the same size, at the 5% level" in conclusion(found, "m", "max", "u 1")
    assert "the difference from u of the same size (" in caption(found, "u 1")
    one = compare_variants(rows, "m", "max", "u 1", (), {"m 2": "u 2"})
    assert "the difference from u 2 (" in caption(one, "u 1")


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
    assert first.metric[1:] == (None, None, None, None)
    assert second.difference.mean == pytest.approx(second.metric.mean - first.metric.mean)
    assert second.difference[1:] == (None, None, None, None)


def test_many_figures_stand_in_tables_that_fit_a_terminal():
    report = read_ablation("mnist_uncertainty").settings.report
    known = dict.fromkeys(["test/accuracy", *report], 0.5)
    found = [Record("a", seed, None, Path("a"), known) for seed in range(3)]
    rows = compare_variants(found, "test/accuracy", "max", "a", report)
    tables = table_cells(rows, "test/accuracy", report, "a")
    assert [name for cells in tables[1:] for name in cells.header[1:]] == list(
        map(label_column, report)
    )
    console = Console(width=110, file=io.StringIO())
    for cells in tables:
        console.print(variants_table(cells))
    assert all(name in console.file.getvalue() for name in report)
