"""The table of a cross-validation: in the terminal, in Markdown and as CSV. Imports no torch."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from rich.table import Table

__all__ = ["Spread", "crossval_csv", "crossval_markdown", "crossval_table", "spread"]

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


class Spread(NamedTuple):
    """A figure's mean over seeds, their standard deviation, and the mean's standard error.

    The last two are None with one seed.
    """

    mean: float
    deviation: float | None
    error: float | None


def spread(fits: Fits, name: str) -> Spread | None:
    """Return the spread of a figure between seeds, each seed's being the mean over its folds.

    Fits without the figure are left out; None if no fit has it.
    """
    seeds: dict[int, list[float]] = {}
    for fit in fits:
        if fit.get(name) is not None:
            seeds.setdefault(fit["seed"], []).append(fit[name])
    means = [fmean(values) for values in seeds.values()]
    if not means:
        return None
    if len(means) == 1:
        return Spread(means[0], None, None)
    deviation = stdev(means)
    return Spread(fmean(means), deviation, deviation / math.sqrt(len(means)))


def crossval_table(report: Mapping[str, Fits], title: str) -> Table:
    """One row a model.

    Args:
        report: See `ugmm.studies.crossval.nested.cross_validate`.
        title: Written above the table.
    """
    table = Table(title=title, caption=CAPTION)
    header, rows = _cells(report)
    for name in header:
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        table.add_row(*row)
    return table


def crossval_csv(report: Mapping[str, Fits]) -> str:
    """Return the same with all digits; cells of what is not known are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("mean", "deviation", "error")
    writer.writerow(["model", *(f"{c}_{p}" for c in _COLUMNS for p in parts), "fits", "failed"])
    for row, fits in report.items():
        spreads = (spread(fits, column) or (None, None, None) for column in _COLUMNS)
        values = [value for found in spreads for value in found]
        failed = sum(fit["error"] is not None for fit in fits)
        writer.writerow([row, *values, len(fits), failed])
    return text.getvalue()


def crossval_markdown(
    report: Mapping[str, Fits],
    title: str,
    command: str,
    about: Sequence[str],
    models: Mapping[str, Any],
) -> str:
    """Return the table with everything that is needed to judge and repeat it.

    Args:
        report: See `ugmm.studies.crossval.nested.cross_validate`.
        title: The heading.
        command: What printed it.
        about: Sentences on data, folds and settings.
        models: By row, the model's `what`, `fixed` and `grid`.
    """
    header, rows = _cells(report)
    lines = [f"# {title}", "", f"`{command}`", "", *(f"- {text}" for text in about), ""]
    lines += [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    lines += [*map(_line, rows), "", CAPTION, "", "## What each model chose from", ""]
    lines += ["How often each value was chosen stands in brackets.", ""]
    for row, model in models.items():
        lines += [f"- **{row}**: {model.what}{_searched(model, report[row])}"]
    notes = [note for row, fits in report.items() for note in _notes(row, fits)]
    if notes:
        lines += ["", "## What went wrong", "", *notes]
    return "\n".join(lines) + "\n"


def _cells(report: Mapping[str, Fits]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows as text; a column counts failed fits if there are any."""
    failed = {row: sum(f["error"] is not None for f in fits) for row, fits in report.items()}
    header = ["model", *_COLUMNS.values()]
    rows = [[row, *(_cell(spread(f, c), c) for c in _COLUMNS)] for row, f in report.items()]
    if any(failed.values()):
        header.append("failed")
        for cells in rows:
            cells.append(f"{failed[cells[0]]}/{len(report[cells[0]])}")
    return header, rows


def _cell(found: Spread | None, column: str) -> str:
    if found is None:
        return "–"  # noqa: RUF001 - an en dash, for what is missing
    if column == "seconds":
        return f"{found.mean:.2g}"
    digits = 4 if column == "accuracy" else 3
    if found.deviation is None:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ± {found.deviation:.{digits}f} ({found.error:.{digits}f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _searched(model: Any, fits: Fits) -> str:
    """Return the settings of a model, and how often each value of its grid was chosen."""
    text = "".join(f"; {name} = {json.dumps(value)}" for name, value in model.fixed.items())
    for name, values in model.grid.items():
        chosen = Counter(json.dumps(f["values"][name]) for f in fits if f["values"] is not None)
        counted = ", ".join(f"{json.dumps(v)} [{chosen[json.dumps(v)]}]" for v in values)
        text += f"; {name} from {counted}"
    n = math.prod(len(values) for values in model.grid.values())
    return f"{text}; {n} candidate{'s' * (n > 1)}"


def _notes(row: str, fits: Fits) -> list[str]:
    """Return lines on what failed, and on what the chosen models warned of."""
    errors = Counter(fit["error"] for fit in fits if fit["error"] is not None)
    warned = Counter(text for fit in fits for text in fit["warnings"])
    notes = [f"- {row}: {n} of {len(fits)} fits failed: {text}" for text, n in errors.items()]
    if errors:
        notes.append(f"- {row}: its figures are those of the fits that did not fail")
    if inner := sum(fit["failed"] for fit in fits):
        notes.append(f"- {row}: {inner} inner fits failed; their candidates were not chosen there")
    return notes + [f"- {row}: {n} fits warned: {text}" for text, n in warned.most_common(3)]
