"""Tables as text."""

import pytest

from ugmm.report.tables import Cells, format_markdown, format_p, format_time


def test_a_markdown_table_escapes_what_parts_its_cells():
    cells = Cells(["model", "a|b"], [["x", "1"], ["y|z", "2"]])
    assert format_markdown(cells).splitlines() == [
        "| model | a\\|b |",
        "| --- | ---: |",
        "| x | 1 |",
        "| y\\|z | 2 |",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01234, "0.0123 s"),
        (599, "599 s"),
        (600, "10 min"),
        (35_999, "600 min"),
        (36_000, "10 h"),
    ],
)
def test_times_have_three_digits(seconds, text):
    assert format_time(seconds) == text


@pytest.mark.parametrize(("p", "text"), [(0.0009, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_small_p_values_are_bounded(p, text):
    assert format_p(p) == text
