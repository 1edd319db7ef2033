"""The page of several tables: figures worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from ugmm.report.study.ranks import draw_ranks
from ugmm.report.study.tables import gather, tables_markdown, tables_summary

TABLES = ("a", "b", "c", "d", "e", "f")
# Accuracies by model and table: "one" is best on all, "two" and "three" share the other places.
BEST = {
    "one": (0.9, 0.8, 0.7, 0.95, 0.85, 0.75),
    "two": (0.8, 0.7, 0.5, 0.9, 0.8, 0.6),
    "three": (0.7, 0.6, 0.6, 0.94, 0.7, 0.7),
}


def fit(data, missing, seed, accuracy, **others):
    figures = {"accuracy": accuracy, "label": -0.5, "log_prob": None, "seconds": 0.25}
    about = {"values": {"reg": 0.1}, "failed": 0, "error": None, "warnings": []}
    return {
        "data": data,
        "missing": missing,
        "seed": seed,
        "fold": 0,
        **figures,
        **about,
        **others,
    }


def make_report():
    report = {}
    for model, accuracies in BEST.items():
        pairs = list(zip(TABLES, accuracies, strict=True))
        report[model] = [
            fit(table, missing, seed, accuracy - 0.1 * (missing > 0) + 0.02 * seed)
            for missing in (0.0, 0.5)
            for table, accuracy in pairs
            for seed in (0, 1)
            if not (model == "three" and missing and table == "d")
        ]
    return report


@pytest.fixture(scope="module")
def page():
    report = make_report()
    models = {
        name: SimpleNamespace(what=f"baseline {name}", fixed={}, grid={"reg": [0.1]}, gaps=None)
        for name in report
    }
    return tables_markdown(
        report, "Title", "ugmm crossval x", ["About."], models, gather(report, False), "ranks.png"
    )


def test_ranks_and_tests_are_over_tables(page):
    assert "(6 tables): one 1.00, two 2.50, three 2.50; Friedman's test: p = 0.011" in page
    # Six differences of one sign: the least p that there can be is 2 / 64.
    assert "| two | +10.83 | 6 | 0 | 0.031 | 0.062 |" in page
    assert "log p(z, y)" not in page


def test_a_model_that_misses_a_table_is_not_ranked(page):
    ranks = next(line for line in page.splitlines() if "accuracy, 50% of" in line)
    assert "one 1.00, two 2.00;" in ranks
    assert "three" not in ranks
    below = page[page.index("### accuracy, 50%") :]
    assert "three" not in below[: below.index("### log")]
    assert "| d | 0.860 (0.010) | 0.810 (0.010) | \N{EN DASH} |" in page


def test_the_spread_is_over_seeds():
    case = gather(make_report(), with_density=True)[0]
    assert (case.metric, case.missing, case.models) == ("accuracy", 0.0, list(BEST))
    assert case.spreads[0][0].mean == pytest.approx(0.91)
    assert case.spreads[0][0].error == pytest.approx(0.01)
    names, means = case.ranked
    assert names == list(BEST)
    np.testing.assert_allclose(means[:, 1], np.array(BEST["two"]) + 0.01)


def test_the_diagram_names_all_models_and_joins_what_is_not_told_apart():
    cases = [c for c in gather(make_report(), False) if c.metric == "accuracy"]
    figure = draw_ranks(cases, "Title", "one")
    first, second = figure.axes
    texts = [text.get_text() for text in first.texts]
    assert {"one  1.0", "two  2.5", "2.5  three"} <= set(texts)
    assert not any("three" in text.get_text() for text in second.texts)
    thick = [line for line in first.lines if line.get_linewidth() > 3]
    assert len(thick) == 1  # of the latter two: the critical difference is 1.35
    low, high = thick[0].get_xdata()
    assert 1 < low < 2.5 < high


def test_too_few_tables_are_ranked_but_nothing_is_said_of_nemenyi():
    report = {m: [f for f in fits if f["data"] != "d"] for m, fits in make_report().items()}
    cases = gather(report, False)
    figure = draw_ranks(cases, "Title", "one")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "one  1.0" in texts
    assert not any("critical" in text for text in texts)
    assert not [line for line in figure.axes[0].lines if line.get_linewidth() > 3]
    page = "".join(tables_summary(cases, "one"))
    assert "(5 tables): one 1.00, two 2.40, three 2.60; not tested: fewer than 6 tables." in page
    assert "Nemenyi" not in figure.get_supxlabel() + page
    assert "| two |" not in page
    both = draw_ranks([*cases, *gather(make_report(), False)], "Title", "one")
    assert "Nemenyi" in both.get_supxlabel()


def test_differences_that_rounding_makes_are_none():
    values = ([0.3], [0.1 + 0.2])
    report = {m: [fit("a", 0.0, 0, v)] for m, (v,) in zip(("one", "two"), values, strict=True)}
    report = {m: [{**f, "data": t} for f in fits for t in TABLES] for m, fits in report.items()}
    page = "\n".join(tables_summary(gather(report, False), "one"))
    assert "one 1.50, two 1.50" in page
    assert "| two | +0.00 | 0 | 0 |" in page


def test_where_every_fit_failed_there_is_no_picture():
    failed = {"accuracy": None, "label": None, "error": "E: no", "values": None}
    report = {"one": [fit(t, 0.0, 0, None) | failed for t in TABLES]}
    models = {"one": SimpleNamespace(what="baseline x", fixed={}, grid={"reg": [1]}, gaps=None)}
    page = tables_markdown(report, "T", "c", [], models, gather(report, False), "ranks.png")
    assert "ranks.png" not in page
    assert "## Ranks\n\nNo two models have a value on every table.\n" in page
    assert "one: 6 of 6 fits failed: E: no" in page


def test_log_densities_are_compared_in_nats_a_column():
    widths = dict(zip(TABLES, (2, 4, 5, 10, 7, 3), strict=True))
    report = {
        model: [fit(t, 0.0, 0, 0.5, log_prob=at * n, columns=n) for t, n in widths.items()]
        for model, at in (("one", -1.0), ("two", -1.5))
    }
    models = dict.fromkeys(
        report, SimpleNamespace(what="baseline", fixed={}, grid={"reg": [0.1]}, gaps=None)
    )
    page = tables_markdown(report, "T", "c", [], models, gather(report, True), "ranks.png")
    assert f"| two | +0.5000 | {len(TABLES)} | 0 |" in page
    assert "| d | -10.00 | -15.00 | 10 |" in page
    assert "nats a column" in page


def test_log_densities_of_tables_of_unknown_width_are_compared_as_they_are():
    report = {
        model: [fit(t, 0.0, 0, 0.5, log_prob=at) for t in TABLES]
        for model, at in (("one", -1.0), ("two", -1.5))
    }
    report["one"][0]["columns"] = 4
    page = "\n".join(tables_summary(gather(report, True), "one"))
    assert f"| two | +0.5000 | {len(TABLES)} | 0 |" in page
    assert "nats a column" not in page
