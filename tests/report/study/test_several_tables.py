"""The page of several tables: figures worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from ugmm.report.study.ranks import draw_ranks
from ugmm.report.study.tables import gather, tables_markdown

TABLES = ("a", "b", "c", "d")
# Accuracies by model and table: "one" is best on all, "two" and "three" share the other places.
BEST = {"one": (0.9, 0.8, 0.7, 0.95), "two": (0.8, 0.7, 0.5, 0.9), "three": (0.7, 0.6, 0.6, 0.94)}


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
    assert "(4 tables): one 1.00, two 2.50, three 2.50; Friedman's test: p = 0.050" in page
    # Four differences of one sign: the least p that there can be is 2 / 16.
    assert "| two | +11.25 | 4 | 0 | 0.125 | 0.250 |" in page
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
    assert len(thick) == 1  # all three: the critical difference is 1.66
    low, high = thick[0].get_xdata()
    assert low < 1 < 2.5 < high


def test_log_densities_are_compared_in_nats_a_column():
    widths = dict(zip(TABLES, (2, 4, 5, 10), strict=True))
    report = {
        model: [fit(t, 0.0, 0, 0.5, log_prob=at * n, columns=n) for t, n in widths.items()]
        for model, at in (("one", -1.0), ("two", -1.5))
    }
    models = dict.fromkeys(
        report, SimpleNamespace(what="baseline", fixed={}, grid={"reg": [0.1]}, gaps=None)
    )
    page = tables_markdown(report, "T", "c", [], models, gather(report, True), "ranks.png")
    assert "| two | +0.5000 | 4 | 0 | 0.125 | 0.125 |" in page
    assert "| d | -10.00 | -15.00 | 10 |" in page
    assert "nats a column" in page
