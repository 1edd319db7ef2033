"""Figures that a page quotes from published studies, and whether those studies have them.

A mark stands behind the figures that it is of, in the same paragraph, item or row of a table; or
on a line of its own above a whole paragraph or table:

    better by 0.30 points (0.23 to 0.37) <!-- from mnist_conv: cnn -->, ...
    about 97% <!-- from no study: as the paper says -->

It names the study, as its section of `experiments/RESULTS.md` is marked, and after a colon the
rows of its tables, with semicolons between; without them, any row may have the figure.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = "experiments/RESULTS.md"

_MARK = re.compile(r"<!-- from (?P<study>[^:]+?)(?:: (?P<rows>.+?))? -->")
_ABOVE = re.compile(rf"^{_MARK.pattern}$")
_SECTION = re.compile(r"<!-- (?P<study>[\w ]+) -->\n(?P<text>### .*?)<!-- /(?P=study) -->", re.S)
_NEW_BLOCK = re.compile(r"\s*([-*] |\d+\. |\||#)")
# What looks like a figure and is none: code, formulas, addresses, versions, levels.
_NO_FIGURES = re.compile(
    r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|arXiv:[\d.]+|Python [\d.]+"
    r"|\b\d+%(?= (?:bootstrap )?intervals?\b| level\b| left out\b)"
)
_FIGURE = re.compile(r"(?<![\w.,])[+-]?(?:\d[\d,]*)?(?:\.\d+%?|\d%)(?![\w.]*\w)")
_LAW = re.compile(r"- (?P<family>\w+): .* to the power (?P<exponent>[^,]*), over")
_FIRST_CELL = re.compile(r"^\|[^|]*")  # names its row
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?!\w)")


@dataclass(frozen=True)
class Mark:
    """What a page says a figure is from.

    Attributes:
        study: As its section is marked; `no study`.
        rows: Of its tables; of `no study`, why it is from none.
    """

    study: str
    rows: tuple[str, ...]


@dataclass
class Quotes:
    """The figures of a page, each with its line.

    Attributes:
        marked: Those with a mark, by it.
        bare: Those without.
        faults: What is wrong with the marks.
    """

    marked: list[tuple[int, str, Mark]] = field(default_factory=list)
    bare: list[tuple[int, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Number:
    """A number of a section's table: its value, how many decimals it has, whether it is in %."""

    value: Decimal
    decimals: int
    percent: bool


def without_sections(text: str) -> str:
    """Return what is written by hand of the page of results, with as many lines."""
    return _SECTION.sub(lambda found: "\n" * found[0].count("\n"), text)


def read_quotes(text: str) -> Quotes:
    """Return the figures of a page."""
    found = Quotes()
    for start, lines, above in _list_blocks(text):
        block, first = "\n".join(lines), 0
        if above is not None:
            found.marked += [(start + n, f, above) for n, f in _list_figures(block)]
            continue
        for match in _MARK.finditer(block):
            line = start + block.count("\n", 0, match.start())
            if not block[block.rfind("\n", 0, match.start()) + 1 : match.start()].strip():
                found.faults.append(f"line {line}: a mark that begins a line ends the paragraph")
            place = start + block.count("\n", 0, first)
            figures = _list_figures(block[first : match.start()])
            found.marked += [(place + n, figure, _read_mark(match)) for n, figure in figures]
            if not figures:
                found.faults.append(f"line {line}: no figure stands before the mark")
            first = match.end()
        place = start + block.count("\n", 0, first)
        found.bare += [(place + n, figure) for n, figure in _list_figures(block[first:])]
    return found


def read_sections(text: str) -> dict[str, dict[str, list[Number]]]:
    """Return the numbers of the page of results: by study and row."""
    studies: dict[str, dict[str, list[Number]]] = {}
    for match in _SECTION.finditer(text):
        rows = studies.setdefault(match["study"], {})
        header: list[str] = []
        for line in match["text"].splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not cells:
                header = []
            elif not header:
                header = cells
            elif not set(line) <= set("|-: "):
                name = re.sub(r"\\(.)", r"\1", cells[0])
                shares = any("(%)" in label for label in header[:3])  # of the difference, too
                for label, cell in zip(header[1:], cells[1:], strict=True):
                    percent = "(%)" in label or (shares and label == "difference")
                    rows.setdefault(name, []).extend(_read_numbers(cell, percent))
    return studies


def read_laws(text: str) -> dict[str, dict[str, list[Number]]]:
    """Return the exponents that the page of results tells: by study and family."""
    found: dict[str, dict[str, list[Number]]] = {}
    for match in _SECTION.finditer(text):
        laws = found.setdefault(match["study"], {})
        for law in _LAW.finditer(match["text"]):
            laws.setdefault(law["family"], []).extend(_read_numbers(law["exponent"], False))
    return found


def agrees(figure: str, numbers: list[Number]) -> bool:
    """Whether a figure is one of some numbers, rounded; 98.1% is 0.981, too.

    If it has a sign, that must be the number's; "worse by 0.30" is -0.30.
    """
    percent = figure.endswith("%")
    quoted = _read_number(figure.rstrip("%"))
    signed = figure.startswith(("+", "-"))
    return any(
        number.decimals >= quoted.decimals
        and abs(quoted.value - (number.value if signed else abs(number.value)))
        <= _tolerance(quoted, number)
        for number in _scaled(numbers, percent)
    )


def _scaled(numbers: list[Number], percent: bool) -> list[Number]:
    """Return numbers as they are, and with shares and percentages turned into each other."""
    others = [
        Number(n.value.scaleb(2), n.decimals - 2, True)
        if percent
        else Number(n.value.scaleb(-2), n.decimals + 2, False)
        for n in numbers
        if n.percent != percent
    ]
    return [*numbers, *others]


def _tolerance(quoted: Number, number: Number) -> Decimal:
    """Half a unit of the last digit; and as much of a number that was rounded itself."""
    if quoted.decimals == number.decimals:
        return Decimal(0)
    return (Decimal(1).scaleb(-quoted.decimals) + Decimal(1).scaleb(-number.decimals)) / 2


def _list_blocks(text: str) -> list[tuple[int, list[str], Mark | None]]:
    """Return paragraphs, items and rows: first line, lines, and the mark above if there is one."""
    blocks: list[tuple[int, list[str], Mark | None]] = []
    fence, above, is_open = "", None, False
    for number, line in enumerate(text.splitlines(), 1):
        if fence or line.lstrip().startswith(("```", "$$", ":::")):
            sign = line.strip()[:2]
            if fence and line.strip().startswith(fence):
                fence = ""
            elif not fence and not (sign == "$$" and line.strip().endswith("$$", 2)):
                fence = {"``": "```", "$$": "$$", "::": ":::"}[sign]
            is_open = False
        elif not line.strip():
            is_open, above = False, None
        elif match := _ABOVE.match(line):
            above, is_open = _read_mark(match), False
        elif is_open and not _NEW_BLOCK.match(line):
            blocks[-1][1].append(line)
        else:
            blocks.append((number, [line], above))
            is_open = True
    return blocks


def _list_figures(text: str) -> list[tuple[int, str]]:
    """Return the figures of a text, each with the number of its line, from 0."""
    text = _FIRST_CELL.sub("|", _MARK.sub(" ", text))
    text = _NO_FIGURES.sub(lambda found: "\n" * found[0].count("\n") + " ", text)
    return [(text.count("\n", 0, m.start()), m[0]) for m in _FIGURE.finditer(text)]


def _read_mark(match: re.Match[str]) -> Mark:
    rows = match["rows"] or ""
    is_reason = match["study"] == "no study"
    return Mark(match["study"], (rows,) if is_reason else tuple(filter(None, rows.split("; "))))


def _read_numbers(cell: str, percent: bool) -> list[Number]:
    return [_read_number(text, percent) for text in _NUMBER.findall(cell)]


def _read_number(text: str, percent: bool = False) -> Number:
    value = Decimal(text.replace(",", ""))
    return Number(value, max(0, -int(value.as_tuple().exponent)), percent)
