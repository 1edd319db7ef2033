"""An ablation's page: one HTML file that needs no network, legible in light and dark."""

import re
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ugmm.report.page import code, document, drawing, heading, listed, paragraph, table
from ugmm.report.tables import Cells

__all__ = ["html_page"]


def html_page(
    title: str,
    conclusion: str,
    tables: Sequence[Cells],
    caption: str,
    figures: Mapping[str, tuple[Figure, str]],
    notes: Sequence[str],
    command: str,
) -> str:
    """Return the page.

    Args:
        title: The ablation's question.
        conclusion: The answer in a sentence or two.
        tables: The numbers.
        caption: What the tables' columns are.
        figures: By heading, a figure and what it shows.
        notes: What was run, where, and what is missing.
        command: What makes the runs, and the page, again.
    """
    parts = [heading(title, 1), paragraph(conclusion, "lead")]
    parts += [table(cells) for cells in tables]
    parts.append(paragraph(caption, "note"))
    for name, (figure, shown) in figures.items():
        parts += [heading(name), drawing(figure, _slug(name), shown)]
    parts += [heading("What was run"), listed(notes)]
    parts.append(paragraph("To repeat it:"))
    parts.append(code(command))
    return document(title, parts)


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z]+", "-", heading.lower())
