"""Tables as text, and how times, p-values and missing values are printed in them.

`ugmm.metrics` says how a metric is printed.
"""

from typing import NamedTuple

from ugmm.report.escaping import for_markdown

__all__ = ["NONE", "Cells", "format_count", "format_markdown", "format_p", "format_time"]

NONE = "–"  # noqa: RUF001 - an en dash, for what is missing


class Cells(NamedTuple):
    """A table as text.

    Attributes:
        header: The names of the columns; the first names the rows.
        rows: As many cells each.
    """

    header: list[str]
    rows: list[list[str]]


def format_markdown(cells: Cells) -> str:
    """Return a table in Markdown, its first column to the left and all others to the right."""
    rule = ["---", *["---:"] * (len(cells.header) - 1)]
    header, *rows = ([for_markdown(cell) for cell in line] for line in (cells.header, *cells.rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def format_count(n: int, noun: str) -> str:
    """Return a number of things: `1 run`, `3 runs`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def format_time(seconds: float) -> str:
    """Return a time with three digits, in seconds, minutes or hours."""
    if seconds < 600:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 36_000 else f"{seconds / 3600:.3g} h"


def format_p(p: float) -> str:
    """Return a p-value with three decimals: `0.012`, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
