"""Figures of README, docs/ and the page of results are those that the studies' sections have."""

import re

import pytest

from fences import pages
from quotes import (
    RESULTS,
    ROOT,
    Quotes,
    agrees,
    read_laws,
    read_quotes,
    read_sections,
    without_sections,
)

# Pages on which every figure says what it is from; elsewhere those in % and with a ± do.
STRICT = ("README.md", "docs/results.md", RESULTS)
LEAST_REASON = 8  # letters


def read_studies(text):
    laws = read_laws(text)
    return {study: rows | laws[study] for study, rows in read_sections(text).items()}


SECTIONS = read_studies((ROOT / RESULTS).read_text(encoding="utf-8"))


def quotes_of(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return read_quotes(without_sections(text) if page == RESULTS else text)


def complain(quotes: Quotes, sections=SECTIONS):
    """What is wrong with the marked figures of a page, a line each."""
    found = list(quotes.faults)
    for line, figure, mark in quotes.marked:
        if mark.study == "no study":
            if len("".join(mark.rows)) < LEAST_REASON:
                found.append(f"line {line}: say why {figure} is from no study")
        elif mark.study not in sections:
            found.append(f"line {line}: no section is marked {mark.study!r}")
        else:
            rows = sections[mark.study]
            unknown = [row for row in mark.rows if row not in rows]
            found += [f"line {line}: {mark.study} has no row {row!r}" for row in unknown]
            named = [rows[row] for row in mark.rows or rows if row in rows]
            if not unknown and not agrees(figure, [n for numbers in named for n in numbers]):
                found.append(f"line {line}: {figure} is not in {mark.study}: {mark.rows}")
    return found


@pytest.mark.parametrize("page", [*pages(), RESULTS])
def test_figures_are_the_published_ones(page):
    assert complain(quotes_of(page)) == []


@pytest.mark.parametrize("page", [*pages(), RESULTS])
def test_no_figure_is_without_a_source(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    bare = [
        f"line {line}: {figure}"
        for line, figure in quotes_of(page).bare
        if page in STRICT or re.search(r"\.\d+%", figure) or "±" in lines[line - 1]
    ]
    assert bare == [], "put <!-- from STUDY: ROW --> behind, or <!-- from no study: why -->"


def test_ten_sentences_open_the_page_of_results():
    text = (ROOT / RESULTS).read_text(encoding="utf-8")
    (opening,) = re.findall(r"\n## In ten sentences\n(.*?)\n## ", text, re.DOTALL)
    sentences = re.split(r"^\d+\. ", opening, flags=re.MULTILINE)[1:]
    assert len(sentences) == 10
    for sentence in sentences:
        marks = {mark.study for _, _, mark in read_quotes(sentence).marked}
        assert marks - {"no study"}, sentence
        assert re.search(r"p [=<] \.?\d", sentence), f"no paired test: {sentence}"


SECTION = """<!-- mine -->
### Mine

| variant | seeds | test/accuracy (%) | difference | p | parameters |
| --- | ---: | ---: | ---: | ---: | ---: |
| plain | 3 | 98.36 ± 0.11 (98.25 to 98.48) | baseline |  | 327,936 |
| a\\|b=[1, 2] | 3 | 96.61 ± 0.21 (96.41 to 96.82) | -1.78 (-2.34 to -1.22) | < 0.001 | 12 |

| variant | test/nll | test/ece (%) |
| --- | ---: | ---: |
| plain | 0.0928 ± 0.0007 | 4.19 ± 0.14 |

- mlp: 1 - test/accuracy goes as parameters to the power -0.42 (-0.47 to -0.38), over 6 sizes.
<!-- /mine -->
"""


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("98.36% (98.25 to 98.48) <!-- from mine: plain -->", 0),
        ("98.4%, 98% and 0.9836 <!-- from mine: plain -->", 0),
        ("98.1%, 97% and 0.9837 <!-- from mine: plain -->", 3),
        ("98.37% (98.26 to 98.49) <!-- from mine: plain -->", 3),
        ("98.360% <!-- from mine: plain -->", 1),  # more than is known
        ("worse by 1.78 points (p < 0.001) <!-- from mine: a|b=[1, 2] -->", 0),
        ("worse by 1.77 points (p < 0.001) <!-- from mine: a|b=[1, 2] -->", 1),
        ("-1.78, -1.8 and 1.8 <!-- from mine: a|b=[1, 2] -->", 0),
        ("+1.78, +1.8 and -96.61% <!-- from mine: a|b=[1, 2] -->", 3),
        ("nll 0.093, ece 4.2% or 0.042 <!-- from mine: plain -->", 0),
        ("98.36% <!-- from mine: plain --> and 96.61% <!-- from mine: plain -->", 1),
        ("98.36% and 96.61% <!-- from mine: plain; a|b=[1, 2] -->", 0),
        ("98.36% and 96.61% <!-- from mine -->", 0),
        ("98.36% <!-- from mine: plane -->", 1),
        ("-0.42 (-0.47 to -0.38) <!-- from mine: mlp -->", 0),
        ("-0.43 <!-- from mine: mlp -->", 1),
        ("98.36% <!-- from yours: plain -->", 1),
        ("12.34% <!-- from no study: the paper says so -->", 0),
        ("12.34% <!-- from no study: so -->", 1),
        ("nothing <!-- from mine: plain -->", 1),
        ("98.36%\n<!-- from mine: plain --> and more", 1),  # it would end the paragraph
        ("| x | 98.36% | 0.093 <!-- from mine: plain --> |\n| y | 98.37% | 0.1 |", 0),
        ("<!-- from mine: plain -->\n| x | y |\n|---|---|\n| 0.5 | 98.36 |\n| x | 98.37 |", 1),
    ],
)
def test_figures_that_drift_are_found(text, faults):
    assert len(complain(read_quotes(text), read_studies(SECTION))) == faults


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("98.36%, `98.36`, $x = 0.5$, [0.4](0.5.md), arXiv:2509.07569", ["98.36%", "0.4"]),
        ("a 95% interval of -0.21 to .19, at the 5% level, of 55,000", ["-0.21", ".19"]),
        ("1.36x as fast, torch 2.13.0, 2 to 14 times", []),
        ("```console\n98.36%\n```\nand 4.2%", ["4.2%"]),
        ("$$\n0.5\n$$\n- 98.36% <!-- from mine: plain --> 0.17\n- **63%**.", ["0.17", "63%"]),
    ],
)
def test_figures_without_a_mark_are_found(text, bare):
    assert [figure for _, figure in read_quotes(text).bare] == bare


def test_lines_are_counted_and_sections_are_not_read():
    text = f"# Page\n\n{SECTION}\n98.36% <!-- from mine: plain -->\n97%\n"
    quotes = read_quotes(without_sections(text))
    assert [line for line, *_ in quotes.marked] == [text[: text.index("98.36% <")].count("\n") + 1]
    assert quotes.bare == [(text.count("\n"), "97%")]


@pytest.mark.parametrize("page", STRICT)
def test_a_changed_digit_is_found_on_the_pages_themselves(page):
    """All but few: what is left of a figure of two digits may be another one of its row."""
    quotes = quotes_of(page)
    real = [(line, f, mark) for line, f, mark in quotes.marked if mark.study != "no study"]
    changed = [(line, re.sub(r"\d(?=%?$)", other_digit, f), mark) for line, f, mark in real]
    assert len(real) > 10
    assert len(complain(Quotes(marked=changed))) > 0.8 * len(changed)


def other_digit(match):
    return str((int(match[0]) + 5) % 10)
