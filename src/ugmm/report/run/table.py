"""A run's results as a table for the terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from ugmm.errors import list_some
from ugmm.metrics import find_metric, sort_names
from ugmm.report.escaping import for_rich
from ugmm.report.tables import NONE, Cells

__all__ = [
    "ROBUSTNESS_NOTE",
    "lost_classes",
    "metrics_table",
    "robustness_cells",
    "robustness_table",
]

_NAMED = 3  # of the classes that are lost
ROBUSTNESS_NOTE = (
    "rotated: degrees; noisy, blurred, faint, hidden: as in ugmm.data.images.corrupted; filled, "
    "missing: percent of the pixels replaced by their mean, "
    "or left out; auroc: digits against clothes, by the posterior or the log-sum of scores"
)


def metrics_table(summary: Mapping[str, float]) -> Table:
    """One row a metric, with its value on the validation and on the test split, if there are any.

    Args:
        summary: Values by `split/name`, as in `summary.json`. Only the splits `val` and `test`
            are shown.
    """
    names = sort_names(
        {key.partition("/")[2] for key in summary if key.startswith(("val/", "test/"))}
    )
    notes = "; ".join(note for name in names if (note := find_metric(name).note))
    table = Table(caption=notes or None)
    table.add_column("metric")
    shown = [s for s in ("val", "test") if any(key.startswith(f"{s}/") for key in summary)]
    for split in shown:
        table.add_column({"val": "validation", "test": "test"}[split], justify="right")
    for name in names:
        table.add_row(
            for_rich(name), *(_cell(name, summary.get(f"{split}/{name}")) for split in shown)
        )
    return table


def lost_classes(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str | None:
    """Return a line about the classes of which the test got no row right; None for none.

    Args:
        classes: Their names.
        counts: How often each (a row) was taken for each.
    """
    lost = [
        f"{name!r} (0 of {sum(row):,})"
        for place, (name, row) in enumerate(zip(classes, counts, strict=True))
        if row[place] == 0 < sum(row)
    ]
    if not lost:
        return None
    return (
        f"WARNING: in the test, no row of class {list_some(lost, _NAMED)} was classified "
        "correctly, whatever the accuracy says; in task=discriminative, "
        "task.class_weights=balanced makes rare classes weigh more"
    )


def robustness_cells(summary: Mapping[str, float]) -> Cells | None:
    """One row for each way in which the test images were shifted; None if they never were.

    Args:
        summary: See `ugmm.training.robustness.score_robustness`.
    """
    keys = [key for key in summary if "/" in key and not key.startswith(("val/", "test/"))]
    if not keys:
        return None
    splits = dict.fromkeys(key.partition("/")[0] for key in keys)
    names = list(dict.fromkeys(key.partition("/")[2] for key in keys))
    rows = [
        [split.replace("_", " "), *(_cell(name, summary.get(f"{split}/{name}")) for name in names)]
        for split in splits
    ]
    return Cells(["test images", *names], rows)


def robustness_table(summary: Mapping[str, float]) -> Table | None:
    """Return `robustness_cells` for the terminal."""
    if (cells := robustness_cells(summary)) is None:
        return None
    table = Table(caption=ROBUSTNESS_NOTE)
    first, *names = cells.header
    table.add_column(first)
    for name in names:
        table.add_column(for_rich(name), justify="right")
    for row in cells.rows:
        table.add_row(for_rich(row[0]), *row[1:])
    return table


def _cell(name: str, value: float | None) -> str:
    return NONE if value is None else find_metric(name).format_alone(value)
