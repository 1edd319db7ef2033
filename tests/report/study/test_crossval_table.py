"""The cross-validation's table, against figures worked out by hand."""

import csv
import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from ugmm.report.study.crossval import (
    crossval_csv,
    crossval_markdown,
    crossval_table,
    describe_search,
)


def fit(seed, fold, accuracy, *, log_prob=None, error=None, **others):
    figures = {"accuracy": accuracy, "label": -0.5, "log_prob": log_prob, "seconds": 1.0}
    about = {"seed": seed, "fold": fold, "missing": 0.0, "gaps": False}
    about |= {"values": {"reg": 0.1}, "failed": 0, "warnings": []}
    return {**about, **({} if error else figures), "error": error, **others}


# Seed means 0.7, 0.8, 0.9: mean 0.8, deviation 0.1, error 0.1 / sqrt(3).
FITS = [
    fit(0, 0, 0.6, log_prob=-1.0),
    fit(0, 1, 0.8, log_prob=-2.0),
    fit(1, 0, 0.8, log_prob=-2.0),
    fit(1, 1, 0.8, log_prob=-3.0),
    fit(2, 0, 0.9, log_prob=-3.0),
    fit(2, 1, 0.9, log_prob=-4.0, values={"reg": 0.0}),
]
NO_DENSITY = [fit(seed, 0, 0.5) for seed in (0, 1)]


def test_the_spread_is_between_seed_means():
    (row,) = csv.DictReader(io.StringIO(crossval_csv({"qda": FITS})))
    assert float(row["accuracy_mean"]) == pytest.approx(0.8)
    assert float(row["accuracy_deviation"]) == pytest.approx(0.1)
    assert float(row["accuracy_error"]) == pytest.approx(0.1 / 3**0.5)
    (row,) = csv.DictReader(io.StringIO(crossval_csv({"qda": FITS[:2]})))
    assert float(row["accuracy_mean"]) == pytest.approx(0.7)
    assert row["accuracy_deviation"] == row["accuracy_error"] == ""
    (row,) = csv.DictReader(io.StringIO(crossval_csv({"mlp": NO_DENSITY})))
    assert row["log_prob_mean"] == ""


def test_the_terminal_and_markdown_show_the_same_cells():
    report = {"qda": FITS, "mlp": NO_DENSITY}
    console = Console(width=160, file=io.StringIO())
    console.print(crossval_table(report, "Title"))
    qda = SimpleNamespace(what="baseline qda", fixed={}, grid={"reg": [0.0, 0.1]}, gaps=None)
    mlp = SimpleNamespace(what="experiment mlp", fixed={"a.b": [1]}, grid={}, gaps=None)
    models = {"qda": qda, "mlp": mlp}
    markdown = crossval_markdown(report, "Title", "ugmm crossval x", ["About."], models)
    for text in (console.file.getvalue(), markdown):
        assert "0.8000 ± 0.1000 (0.0577)" in text
        assert "-2.500 ± 1.000 (0.577)" in text
    cells = "0.5000 ± 0.0000 (0.0000) | -0.500 ± 0.000 (0.000) | \N{EN DASH} | 1"
    assert f"| mlp | {cells} |" in markdown
    assert "- **qda**: baseline qda; reg from 0.0 [1], 0.1 [5]; 2 candidates\n" in markdown
    assert "- **mlp**: experiment mlp; a.b = [1]; 1 candidate\n" in markdown
    assert "`ugmm crossval x`" in markdown
    assert "went wrong" not in markdown


def test_what_a_table_with_gaps_of_its_own_chose_is_told_of_gaps():
    fits = [fit(0, 0, 0.6), fit(0, 1, 0.8, gaps=True), fit(0, 1, 0.8, missing=0.5, gaps=True)]
    lists = {"reg": [0.1, 0.2]}
    both = SimpleNamespace(what="baseline qda", fixed={}, grid=lists, gaps=lists)
    told = describe_search(both, fits)
    assert "reg from 0.1 [1], 0.2 [0]; 2 candidates; where values are missing; reg from" in told
    assert told.endswith("reg from 0.1 [2], 0.2 [0]; 2 candidates")


def test_failures_are_counted_and_named():
    report = {
        "qda": [*FITS[:5], fit(2, 1, None, error="LinAlgError: no", failed=3, values=None)],
        "kde": NO_DENSITY,
    }
    model = SimpleNamespace(what="baseline qda", fixed={}, grid={"reg": [0.0, 0.1]}, gaps=None)
    markdown = crossval_markdown(report, "T", "c", [], {"qda": model, "kde": model})
    assert "| 1/6 |" in markdown
    assert "| 0/2 |" in markdown
    assert "- qda: 1 of 6 fits failed: LinAlgError: no" in markdown
    assert "- qda: 3 inner fits failed" in markdown
    rows = list(csv.DictReader(io.StringIO(crossval_csv(report))))
    assert rows[0]["failed"] == "1"
    assert float(rows[0]["accuracy_mean"]) == pytest.approx(0.8)
    assert rows[1]["log_prob_mean"] == ""
