"""An ablation's page, opened in a real browser without a network."""

import re

import numpy as np
import pytest
from looking import check_html

from browser import BROWSER, Browser
from ugmm.report.page import inline_svg
from ugmm.report.statistics import Record
from ugmm.report.study.page import html_page
from ugmm.report.study.plots import final_dots, looks_of, validation_curves
from ugmm.report.study.text import caption, conclusion, table_cells
from ugmm.report.study.variants import compare_variants
from ugmm.report.style import find_look


def page(folder):
    """The page of made-up runs, with texts that HTML and matplotlib could stumble over."""
    rng = np.random.default_rng(0)
    names = ("plain", "a<b> & $x_1$", "_third")
    records = [
        Record(
            name,
            seed,
            None,
            folder / f"{i}-{seed}",
            {"test/accuracy": 0.9 + 0.02 * i + 0.01 * rng.random(), "test/nll": rng.random()},
        )
        for i, name in enumerate(names)
        for seed in range(3)
    ]
    rows = compare_variants(records, "test/accuracy", "max", "plain", ["test/nll"])
    history = [{"epoch": float(e), "val/accuracy": 1 - 0.5**e} for e in range(1, 9)]
    looks = looks_of(rows, "max", "plain")
    curves = validation_curves(
        {name: [history] * 3 for name in names}, ["val/accuracy"], "Q", looks
    )
    dots = final_dots(rows, records, "test/accuracy", "plain", "Q", looks)
    return html_page(
        "Does <it> help?",
        conclusion(rows, "test/accuracy", "max", "plain"),
        table_cells(rows, "test/accuracy", ["test/nll"], "plain"),
        caption(rows, "plain"),
        {"The final metric": (dots, "dots"), "Validation": (curves, "curves")},
        ["9 of 9 runs are finished."],
        "ugmm compare it",
    )


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the page was not looked at")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_draws_it_without_errors_or_requests(tmp_path, dark):
    path = tmp_path / "page.html"
    path.write_text(page(tmp_path))
    with Browser(tmp_path / "profile") as browser:
        browser.open(path.as_uri(), 1280, dark)
        assert browser.complaints == []
        assert {url for url in browser.asked if not url.startswith("data:")} == {path.as_uri()}
        assert browser.ask("document.querySelectorAll('svg').length") == 2
        text = browser.ask("document.body.innerText")
    assert "Does <it> help?" in text
    assert "a<b> & $x_1$" in text
    assert "test/accuracy (%)" in text


def test_it_asks_for_nothing_outside(tmp_path):
    check_html(page(tmp_path))


def test_colours_follow_the_reader(tmp_path):
    html = page(tmp_path)
    body = html.partition("</style>")[2]
    assert "#222222" not in body
    assert "#0072b2" not in body.lower()
    for name in re.findall(r"var\((--\w+)\)", body):
        assert html.count(f"{name}:") == 2, name  # in light and in dark


def test_a_figure_gives_the_same_svg_twice(tmp_path):
    history = [{"epoch": 0.0, "val/nll": 1.0}, {"epoch": 1.0, "val/nll": 0.5}]
    first, second = (
        inline_svg(validation_curves({"a": [history]}, ["val/nll"], "Q", {"a": find_look(0)}), "x")
        for _ in range(2)
    )
    assert first == second
