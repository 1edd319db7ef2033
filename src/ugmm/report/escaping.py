"""Names as they are, wherever they are shown: a function for each medium that reads signs.

Names come from files and the command line: of variants, models, columns, classes, metrics. In each
medium some of their letters would be orders: to run a formula, to start a cell, to turn the
terminal's text red or around. Imports no rich; what needs it, loads it.
"""

import csv
import html
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

__all__ = [
    "csv_text",
    "for_html",
    "for_markdown",
    "for_plot",
    "for_rich",
    "for_spreadsheet",
    "for_terminal",
    "markdown_code",
]

# Control characters, ends of lines, and halves of letters, which no file could hold as UTF-8.
_UNSEEN = ("Cc", "Zl", "Zp", "Cs")
_TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")  # noqa: RUF001 - wide ones count in East Asia
_MARKDOWN = re.compile(
    r"[\\`*|~$]"
    r"|\](?=[(\[:])|\[(?=\^)"  # a link; a list of numbers is none
    r"|<(?=[a-zA-Z/!?])"  # a tag; "p < 0.001" is none
    r"|&(?=#?\w+;)"
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside a word it stands for itself
    r"|^(>|[#+-](?=\s))"  # a quotation, a heading or a list
)
_NUMBERED = re.compile(r"^(\d+)([.)]\s)")  # a list too


def for_terminal(text: str) -> str:
    r"""Return a text in one line, with what a terminal would act on written out, as `\x1b[31m`."""
    return "".join(_write_out(letter) for letter in text)


def for_rich(text: str, style: str = "") -> "Text":
    """Return a cell or title of a table for the terminal: brackets and colons are themselves.

    Args:
        text: What it says.
        style: As rich names it.
    """
    from rich.text import Text

    return Text(for_terminal(text), style=style)


def for_spreadsheet(cell: Any) -> Any:
    """Return a cell of a CSV file; a text that would be a formula gets an apostrophe before it.

    Numbers, and texts that are plain numbers, stay as they are.
    """
    if not isinstance(cell, str):
        return cell
    text = for_terminal(cell)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_text(lines: Iterable[Sequence[Any]]) -> str:
    """Return lines as CSV, each cell as by `for_spreadsheet`, and None as an empty one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # What is neither a number nor None is shown as it would be printed, such as a path.
    plain = (float, int, type(None))
    for line in lines:
        cells = (cell if isinstance(cell, plain) else str(cell) for cell in line)
        writer.writerow([for_spreadsheet(cell) for cell in cells])
    return text.getvalue()


def for_markdown(text: str) -> str:
    """Return a text for a Markdown file, in a cell or a line of its own, without any markup."""
    text = _MARKDOWN.sub(lambda found: f"\\{found[0]}", for_terminal(text))
    return _NUMBERED.sub(r"\1\\\2", text)


def markdown_code(text: str) -> str:
    """Return a text as code in Markdown, whatever backticks are in it."""
    text = for_terminal(text)
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{fence} {text} {fence}"


def for_html(text: str) -> str:
    """Return a text for an HTML file, inside an element or an attribute."""
    return html.escape(for_terminal(text))


def for_plot(text: str) -> str:
    """Return a text for a figure; it may have several lines.

    Matplotlib would read dollars as formulas, and a leading _ as "not in the legend".
    """
    lines = "\n".join(map(for_terminal, text.split("\n")))
    return (" " if text.startswith("_") else "") + lines.replace("$", r"\$")


def _write_out(letter: str) -> str:
    if letter in _TURNING or unicodedata.category(letter) in _UNSEEN:
        return letter.encode("unicode_escape").decode()
    return letter
