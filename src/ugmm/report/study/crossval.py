"""The table of a cross-validation: in the terminal, in Markdown and as CSV. Imports no torch."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ugmm.metrics import find_metric
from ugmm.report.escaping import csv_text, for_markdown, for_rich, markdown_code
from ugmm.report.statistics import Spread, average_by_seed, measure_spread
from ugmm.report.tables import NONE, Cells, format_count, format_markdown

__all__ = [
    "Fits",
    "crossval_csv",
    "crossval_markdown",
    "crossval_notes",
    "crossval_table",
    "describe_search",
]

Fits = Sequence[Mapping[str, Any]]

_COLUMNS = {
    "accuracy": "accuracy",
    "label": "log p(y|z)",
    "log_prob": "log p(z, y)",
    "seconds": "CPU s a fit",
}
CAPTION = (
    "Means over seeds of the mean over folds ± the standard deviation between seeds (the standard "
    "error of the mean). log p(y|z), the label's, and log p(z, y), the joint density of "
    "standardised features and label: in nats a row."
)


def crossval_table(report: Mapping[str, Fits], title: str) -> Table:
    """One row a model.

    Args:
        report: See `ugmm.studies.crossval.nested.cross_validate`.
        title: Written above the table.
    """
    table = Table(title=for_rich(title, "table.title"), caption=CAPTION)
    cells = _cells(report)
    for name in cells.header:
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in cells.rows:
        table.add_row(*map(for_rich, row))
    return table


def crossval_csv(report: Mapping[str, Fits]) -> str:
    """Return the table as CSV, with all digits; cells of what is not known are empty."""
    parts = ("mean", "deviation", "error")
    columns = [f"{column}_{part}" for column in _COLUMNS for part in parts]
    lines: list[Sequence[Any]] = [["model", *columns, "fits", "failed"]]
    for row, fits in report.items():
        spreads = [_measure(fits, column) for column in _COLUMNS]
        values = [getattr(found, part, None) for found in spreads for part in parts]
        failed = sum(fit["error"] is not None for fit in fits)
        lines.append([row, *values, len(fits), failed])
    return csv_text(lines)


def crossval_markdown(
    report: Mapping[str, Fits],
    title: str,
    command: str,
    about: Sequence[str],
    models: Mapping[str, Any],
    level: int = 1,
) -> str:
    """Return the table with everything that is needed to judge and repeat it.

    Args:
        report: See `ugmm.studies.crossval.nested.cross_validate`.
        title: The heading.
        command: What printed it.
        about: Sentences on data, folds and settings.
        models: By row, the model's `what`, `fixed`, `grid` and `gaps`.
        level: Of the heading, with which those below it go down.
    """
    lines = [
        f"{'#' * level} {for_markdown(title)}",
        "",
        markdown_code(command),
        "",
        *(f"- {text}" for text in about),
        "",
    ]
    lines += [format_markdown(_cells(report)), "", CAPTION, ""]
    lines += [f"{'#' * level}# What each model chose from", ""]
    lines += ["How often each value was chosen stands in brackets.", ""]
    for row, model in models.items():
        lines += [f"- **{for_markdown(row)}**: {describe_search(model, report[row])}"]
    if notes := crossval_notes(report):
        lines += ["", f"{'#' * level}# What went wrong", ""]
        lines += [f"- {for_markdown(note)}" for note in notes]
    return "\n".join(lines) + "\n"


def crossval_notes(report: Mapping[str, Fits]) -> list[str]:
    """Return lines on what failed, and on what the chosen models warned of."""
    return [note for row, fits in report.items() for note in _notes(row, fits)]


def _cells(report: Mapping[str, Fits]) -> Cells:
    """Return the table as text; a column counts failed fits if there are any."""
    failed = {row: sum(f["error"] is not None for f in fits) for row, fits in report.items()}
    header = ["model", *_COLUMNS.values()]
    rows = [[row, *(_cell(_measure(f, c), c) for c in _COLUMNS)] for row, f in report.items()]
    if any(failed.values()):
        header.append("failed")
        for cells in rows:
            cells.append(f"{failed[cells[0]]}/{len(report[cells[0]])}")
    return Cells(header, rows)


def _measure(fits: Fits, name: str) -> Spread | None:
    """Return the spread of a metric between seeds; fits without it are left out."""
    known = ((fit["seed"], fit[name]) for fit in fits if fit.get(name) is not None)
    return measure_spread(average_by_seed(known))


def _cell(found: Spread | None, column: str) -> str:
    if found is None:
        return NONE
    unit = find_metric(column).unit
    if unit == "seconds":
        return f"{found.mean:.2g}"
    digits = 4 if unit == "share" else 3
    if found.deviation is None:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ± {found.deviation:.{digits}f} ({found.error:.{digits}f})"


def describe_search(model: Any, fits: Fits) -> str:
    """Return what a model is and sets, and how often each value of its grids was chosen."""
    parts = [model.what, *(f"{name} = {json.dumps(v)}" for name, v in model.fixed.items())]
    text = "; ".join(map(for_markdown, parts))
    if model.grid is not None:
        text += _describe_grid(model.grid, [f for f in fits if not _has_gaps(f)])
    if model.gaps is not None:
        gaps = _describe_grid(model.gaps, [f for f in fits if _has_gaps(f)])
        text += f"{'' if model.grid is None else '; where values are missing'}{gaps}"
    return text


def _has_gaps(fit: Mapping[str, Any]) -> bool:
    """Whether values were missing; that a table itself lacks some is not told by older files."""
    return bool(fit.get("gaps", fit["missing"] > 0))


def _describe_grid(grid: Mapping[str, Sequence[Any]], fits: Fits) -> str:
    text = ""
    for name, values in grid.items():
        chosen = Counter(json.dumps(f["values"][name]) for f in fits if f["values"] is not None)
        shown = [(for_markdown(json.dumps(v)), chosen[json.dumps(v)]) for v in values]
        text += f"; {for_markdown(name)} from {', '.join(f'{v} [{n}]' for v, n in shown)}"
    n = math.prod(len(values) for values in grid.values())
    return f"{text}; {format_count(n, 'candidate')}"


def _notes(row: str, fits: Fits) -> list[str]:
    errors = Counter(fit["error"] for fit in fits if fit["error"] is not None)
    warned = Counter(text for fit in fits for text in fit["warnings"])
    notes = [f"{row}: {n} of {len(fits)} fits failed: {text}" for text, n in errors.items()]
    if errors:
        notes.append(f"{row}: its numbers are those of the fits that did not fail")
    if inner := sum(fit["failed"] for fit in fits):
        counted = format_count(inner, "inner fit")
        notes.append(f"{row}: {counted} failed; no candidate was chosen where it failed")
    return notes + [
        f"{row}: {format_count(n, 'fit')} warned: {text}" for text, n in warned.most_common(3)
    ]
