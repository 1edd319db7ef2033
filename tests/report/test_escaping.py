"""Names in each medium: what would be an order is only read."""

import csv
import io

import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ugmm.report import escaping


@pytest.mark.parametrize(
    "text",
    ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", " =1", "\uff1d1", "-x", "=1", "+", "-1e"],
)
def test_a_formula_is_a_text_in_a_spreadsheet(text):
    assert escaping.for_spreadsheet(text) == f"'{text}"


@pytest.mark.parametrize(
    "cell",
    ["plain", "model.norm=layer", "-1", "+0.5", "-1.5e-3", ".5", "a=b", "", -1, -0.5, None, "–"],  # noqa: RUF001
)
def test_numbers_and_names_stay_as_they_are(cell):
    assert escaping.for_spreadsheet(cell) == cell


def test_lines_are_csv_that_reads_back():
    text = escaping.csv_text([["name", "a,b", "=x"], ['q"t', -1.5, None], ["two\nlines", 3, "-2"]])
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "a,b", "'=x"],
        ['q"t', "-1.5", ""],
        ["two\\nlines", "3", "-2"],
    ]
    assert pd.read_csv(io.StringIO(text))["'=x"].tolist()[1] == -2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\rand\ta tab", r"two\nlines\rand\ta tab"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("a\u2028b\x85c\x9b1m", r"a\u2028b\x85c\x9b1m"),
        ("\udcff", r"\udcff"),
        ("größe ± 人 👩‍🔬 –", "größe ± 人 👩‍🔬 –"),  # noqa: RUF001
    ],
)
def test_a_terminal_obeys_no_name(text, shown):
    assert escaping.for_terminal(text) == shown


@pytest.mark.parametrize("text", ["a [bold]b[/]", "[/]", ":smile:", "x\\[b]", "[link=http://x]y"])
def test_rich_takes_no_name_for_markup(text):
    table = Table(title=escaping.for_rich(text, "table.title"))
    table.add_column(escaping.for_rich(text))
    table.add_row(escaping.for_rich(text))
    console = Console(file=io.StringIO(), width=60)
    console.print(table)
    assert console.file.getvalue().count(text) == 3


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("`rm`", r"\`rm\`"),
        ("[x](javascript:1)", r"[x\](javascript:1)"),
        ("[x][y] [x]: [^1]", r"[x\][y] [x\]: \[^1]"),
        ("model.hidden=[10, 5]", "model.hidden=[10, 5]"),
        ("<img src=x onerror=1>", r"\<img src=x onerror=1>"),
        ("&lt;b>", r"\&lt;b>"),
        ("a\nb", r"a\\nb"),
        ("*a* __b__ ~c~ $d$", r"\*a\* \_\_b\_\_ \~c\~ \$d\$"),
        ("a\\|b", r"a\\\|b"),
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("12. a", r"12\. a"),
        ("> a", r"\> a"),
        ("+0.03 (-0.45 to +0.51)", "+0.03 (-0.45 to +0.51)"),
        ("< 0.001", "< 0.001"),
        ("model.min_scale=0", "model.min_scale=0"),
        ("R&D", "R&D"),
    ],
)
def test_markdown_shows_what_is_written(text, escaped):
    assert escaping.for_markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "code"), [("a b", "`a b`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```")]
)
def test_code_may_hold_backticks(text, code):
    assert escaping.markdown_code(text) == code


def test_html_is_text():
    found = escaping.for_html("<script>'\"&\x1b\u202e")
    assert found == r"&lt;script&gt;&#x27;&quot;&amp;\x1b\u202e"


@pytest.mark.parametrize("text", ["$x_1$", "$\\frac{$", "a\\$b$", "_id", "\x1b[0m", "$", "a\nb"])
def test_a_figure_draws_every_name(text, recwarn):
    figure = Figure()
    figure.text(0.5, 0.5, escaping.for_plot(text))
    figure.savefig(io.BytesIO())
    assert not recwarn.list
