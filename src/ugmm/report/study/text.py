"""The table of an ablation: as cells, in the terminal and as CSV; and what it says in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ugmm.metrics import find_metric, label_column
from ugmm.report.escaping import csv_text, for_rich
from ugmm.report.statistics import Record, Spread
from ugmm.report.study.variants import Row, family_of
from ugmm.report.tables import NONE, Cells, format_p, format_time

__all__ = [
    "caption",
    "conclusion",
    "runs_csv",
    "table_cells",
    "variants_csv",
    "variants_table",
]

_ACROSS = 4  # metrics in one table: more would break their names on a page or in a terminal


def caption(rows: Sequence[Row], baseline: str) -> str:
    """Say what the columns are."""
    seeds = max(row.seeds for row in rows)
    few = (
        " Few seeds make wide intervals: the bootstrap's cannot reach beyond the seeds' own range."
        if 1 < seeds < 6
        else ""
    )
    return (
        "Mean ± standard deviation between seeds (the 95% bootstrap interval of the mean), a "
        "seed's figure being the mean over its folds, where there are folds; the difference from "
        f"{_name_others(rows, baseline)} (Student's 95% interval, over the seeds that both have) "
        f"and the p-value of the paired t-test, adjusted by Holm's method for all rows.{few} Time "
        "is that of training one run, beside whatever else the machine had to do."
    )


def conclusion(rows: Sequence[Row], metric: str, goal: str, baseline: str) -> str:
    """Say in words which variant is best, and which differ from the baseline."""
    best = (max if goal == "max" else min)(rows, key=lambda row: row.metric.mean)
    if baseline not in {row.variant for row in rows}:
        without = f"; {baseline}, which others are to be compared with, has no figures."
    elif len(rows) == 1:
        without = "; there is no other variant to compare it with."
    else:
        without = "; a test of differences needs two seeds or more."
    known = find_metric(metric)
    mean = known.format_in_column(best.metric.mean) + "%" * (known.unit == "share")
    said = f"{best.variant} has the best {metric}, {mean}"
    if best.metric.low is not None:
        said += f" ({_format_interval(best.metric, metric)})"
    sign = 1 if goal == "max" else -1
    groups: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for row in rows:
        d = row.difference
        if d is None or d.adjusted is None:
            continue
        verdict = "not told apart"
        if d.adjusted < 0.05:
            verdict = "better" if sign * d.mean > 0 else "worse"
        groups[verdict].append(row.variant)
    parts = [f"{verdict}: {_names(names)}" for verdict, names in groups.items() if names]
    if not parts:
        return said + without
    return f"{said}. Against {_name_others(rows, baseline)}, at the 5% level: {'; '.join(parts)}."


def table_cells(
    rows: Sequence[Row], metric: str, report: Sequence[str], baseline: str
) -> list[Cells]:
    """Return the tables as text: the metric's, then those of further metrics, if any."""
    header = ["variant", "seeds", label_column(metric), "difference", "p", "time", "parameters"]
    bases = {baseline, *(row.against for row in rows)}
    tables = [Cells(header, [_cells(row, metric, row.variant in bases) for row in rows])]
    for start in range(0, len(report), _ACROSS):
        names = report[start : start + _ACROSS]
        spreads = [
            [_format_spread(row.report[n], n) if n in row.report else NONE for n in names]
            for row in rows
        ]
        further = [[row.variant, *cells] for row, cells in zip(rows, spreads, strict=True)]
        tables.append(Cells(["variant", *map(label_column, names)], further))
    return tables


def variants_table(cells: Cells, title: str = "") -> Table:
    """One row a variant, for the terminal."""
    table = Table(title=for_rich(title, "table.title"), title_justify="left")
    longest = max(len(row[0]) for row in cells.rows)
    for name in cells.header:
        heading = for_rich(name)
        if name == "variant":
            table.add_column(heading, min_width=min(longest, 24), overflow="fold")
        else:
            table.add_column(heading, justify="right", overflow="fold")
    for row in cells.rows:
        table.add_row(for_rich(row[0]), *(cell.replace(" (", "\n(") for cell in row[1:]))
    return table


def variants_csv(rows: Sequence[Row], report: Sequence[str]) -> str:
    """Return the table as CSV, with all digits; cells of what is not known are empty."""
    spread = ("mean", "deviation", "low", "high")  # of `Spread`
    difference = ("difference", "difference_low", "difference_high", "p", "p_adjusted")
    others = [f"{name}_{part}" for name in report for part in ("mean", "deviation")]
    tail = ("seconds", "parameters", "best_run")
    lines: list[Sequence[Any]] = [
        ["variant", "runs", "seeds", *spread, *difference, *others, *tail]
    ]
    for row in rows:
        own = [getattr(row.metric, part) for part in spread]
        found = [row.report.get(name, (None, None))[:2] for name in report]
        values = [value for pair in found for value in pair]
        lines.append(
            [
                *(row.variant, row.runs, row.seeds, *own),
                *(row.difference or [None] * len(difference)),
                *(*values, row.seconds, row.parameters, row.best),
            ]
        )
    return csv_text(lines)


def runs_csv(
    records: Sequence[Record], names: Sequence[str], told: Mapping[str, Sequence[str | None]]
) -> str:
    """Return one line a run as CSV, with all digits.

    Args:
        records: The runs.
        names: Which metrics of their summaries.
        told: Further columns, by name, a cell a run.
    """
    lines: list[Sequence[Any]] = [["variant", "seed", "fold", *names, "run", *told]]
    for number, run in enumerate(records):
        values = [run.summary.get(name) for name in names]
        further = [cells[number] for cells in told.values()]
        lines.append([run.variant, run.seed, run.fold, *values, run.folder, *further])
    return csv_text(lines)


def _name_others(rows: Sequence[Row], baseline: str) -> str:
    """Return what variants are compared with: one of them, or of one family each with its own."""
    bases = {row.against for row in rows if row.against is not None} or {baseline}
    return bases.pop() if len(bases) == 1 else f"{family_of(baseline)} of the same size"


def _names(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names) if len(names) <= most else f"{len(names)} variants"


def _cells(row: Row, metric: str, is_baseline: bool) -> list[str]:
    cells = [row.variant, str(row.seeds), _format_spread(row.metric, metric)]
    if row.metric.low is not None:
        cells[-1] += f" ({_format_interval(row.metric, metric)})"
    d, printed = row.difference, find_metric(metric).format_in_column
    if is_baseline:
        cells += ["baseline", ""]
    elif d is None:
        cells += [NONE, NONE]
    else:
        cells.append(printed(d.mean, signed=True))
        if d.low is not None and d.high is not None:
            cells[-1] += f" ({printed(d.low, signed=True)} to {printed(d.high, signed=True)})"
        cells.append(NONE if d.adjusted is None else format_p(d.adjusted))
    cells.append(NONE if row.seconds is None else format_time(row.seconds))
    cells.append(NONE if row.parameters is None else f"{row.parameters:,}")
    return cells


def _format_spread(found: Spread, name: str) -> str:
    printed = find_metric(name).format_in_column
    mean = printed(found.mean)
    return mean if found.deviation is None else f"{mean} ± {printed(found.deviation)}"


def _format_interval(found: Spread, name: str) -> str:
    printed = find_metric(name).format_in_column
    return f"{printed(found.low or 0.0)} to {printed(found.high or 0.0)}"
