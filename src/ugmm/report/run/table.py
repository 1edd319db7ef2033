"""A run's results as a table for the terminal."""

from collections.abc import Mapping

from rich.table import Table

__all__ = ["metrics_table", "robustness_table"]

_FIRST = ("accuracy", "nll", "ece", "log_prob", "log_prob_raw", "score")


def metrics_table(summary: Mapping[str, float], title: str | None = None) -> Table:
    """One row a metric, with its value on the validation and on the test split, if there are any.

    Args:
        summary: Values by `split/name`, as in `summary.json`. Only the splits `val` and `test`
            are shown.
        title: Written above the table.
    """
    found = {key.partition("/")[2] for key in summary if key.startswith(("val/", "test/"))}
    names = [name for name in _FIRST if name in found] + sorted(found.difference(_FIRST))
    # A score looks like a log-likelihood and is not one: say so wherever it is shown.
    caption = (
        "score: mean log-score, not a normalised log-likelihood" if "score" in found else None
    )
    table = Table(title=title, caption=caption)
    table.add_column("metric")
    shown = [s for s in ("val", "test") if any(key.startswith(f"{s}/") for key in summary)]
    for split in shown:
        table.add_column({"val": "validation", "test": "test"}[split], justify="right")
    for name in names:
        table.add_row(name, *(_cell(name, summary.get(f"{split}/{name}")) for split in shown))
    return table


def robustness_table(summary: Mapping[str, float]) -> Table | None:
    """One row for each way in which the test images were shifted; None if they never were.

    Args:
        summary: See `ugmm.training.robustness.score_robustness`.
    """
    keys = [key for key in summary if "/" in key and not key.startswith(("val/", "test/"))]
    if not keys:
        return None
    splits = dict.fromkeys(key.partition("/")[0] for key in keys)
    names = list(dict.fromkeys(key.partition("/")[2] for key in keys))
    table = Table(
        caption="rotated: degrees; filled, missing: percent of the pixels replaced by their mean, "
        "or left out; auroc: digits against clothes, by the posterior or the log-sum of scores"
    )
    table.add_column("test images")
    for name in names:
        table.add_column(name, justify="right")
    for split in splits:
        label = split.replace("_", " ")
        table.add_row(label, *(_cell(name, summary.get(f"{split}/{name}")) for name in names))
    return table


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - an en dash, for what is missing
    if name == "accuracy":
        return f"{value:.2%}"
    if name == "epoch":
        return f"{value:.0f}"
    return f"{value:#.4g}".rstrip(".")  # "#" keeps the zeros that are significant: 0.5000
