"""Every metric: what it is, which way it is better, in which unit, and how it is printed.

A run names its metrics `split/name`, such as `test/accuracy`; what a metric is follows from its
name alone, whatever the split. Imports nothing but the standard library.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CURVES",
    "METRICS",
    "VALIDATED",
    "Goal",
    "Metric",
    "Unit",
    "find_metric",
    "label_axis",
    "label_column",
    "sort_names",
]

Goal = Literal["max", "min"]
Unit = Literal["share", "nats", "bits", "seconds", "count", ""]

_UNIT_SIGNS = {
    "share": "%",
    "nats": "nats",
    "bits": "bits",
}  # seconds and counts are named by what they are


@dataclass(frozen=True)
class Metric:
    """What is known of a metric.

    Attributes:
        name: The last part of its key.
        label: The same in words, for an axis.
        goal: Which way it is better; None where neither way is, or it is a cost to be weighed.
        unit: What it is measured in. A share lies in [0, 1] and is drawn in percent.
        format_spec: How one value is printed by itself, as Python formats numbers.
        normalised: False where it looks like a log-likelihood but is not one.
        validated: Whether a validation measures it, so that it can choose the best checkpoint if
            one way is better.
        curve: The split whose curve a dashboard shows of every task that logs it; empty for none.
    """

    name: str
    label: str
    goal: Goal | None = None
    unit: Unit = ""
    format_spec: str = "#.4g"  # "#" keeps the zeros that are significant: 0.5000
    normalised: bool = True
    validated: bool = False
    curve: Literal["train", "val", ""] = ""

    @property
    def factor(self) -> int:
        """What a value is multiplied by for an axis or a column: 100 if it is a share."""
        return 100 if self.unit == "share" else 1

    @property
    def axis(self) -> str:
        """The label with its unit: `accuracy (%)`, `log-score (nats, not normalised)`."""
        unit = _UNIT_SIGNS.get(self.unit, "") + ", not normalised" * (not self.normalised)
        return f"{self.label} ({unit})" if unit else self.label

    @property
    def note(self) -> str:
        """What must be said wherever it is shown; mostly nothing."""
        if self.normalised:
            return ""
        return f"{self.name}: mean {self.label}, not a normalised log-likelihood"

    def format_alone(self, value: float) -> str:
        """Return a value as it is printed by itself: `98.34%`, `0.5000`, `12`."""
        return format(value, self.format_spec).rstrip(".")

    def format_in_column(self, value: float, *, signed: bool = False) -> str:
        """Return a value as it is printed below `label_column`, with as many decimals as others.

        A deviation or a difference is printed likewise.
        """
        decimals = {"share": ".2f", "count": ",.0f"}.get(self.unit, ".4f")
        return f"{self.factor * value:{'+' if signed else ''}{decimals}}"


# In the order in which they are shown.
METRICS = (
    Metric("accuracy", "accuracy", "max", "share", ".2%", validated=True, curve="val"),
    Metric("balanced_accuracy", "mean accuracy of the classes", "max", "share", ".2%"),
    Metric("macro_f1", "mean F1 of the classes", "max"),
    Metric("nll", "NLL of the label", "min", "nats", validated=True, curve="val"),
    Metric("ece", "calibration error", "min", "share", validated=True),
    Metric("log_prob", "log p(x, y)", "max", "nats", validated=True),
    Metric("bits_per_dim", "bits a feature", "min", "bits", validated=True),
    Metric("log_prob_raw", "log p(x, y) in raw units", "max", "nats"),
    Metric("score", "log-score", "max", "nats", normalised=False, validated=True),
    Metric("r2", "R squared", "max", validated=True, curve="val"),
    Metric("rmse", "root mean squared error", "min", validated=True),
    Metric("mae", "mean absolute error", "min", validated=True),
    Metric("nlpd", "-log p(y | x)", "min", "nats", validated=True, curve="val"),
    Metric("crps", "CRPS", "min", validated=True),
    Metric("coverage_90", "coverage of 90% intervals", None, "share", ".2%", validated=True),
    Metric("auroc_posterior", "area under the ROC curve, by the posterior", "max"),
    Metric("auroc_score", "area under the ROC curve, by the log-sum of scores", "max"),
    Metric("loss", "objective", "min", curve="train"),
    Metric("claimed", "log p(x, y), as the loss claims", unit="nats"),
    Metric("lr", "learning rate"),
    Metric("effective_draws", "effective share of the draws for Z"),
    Metric("epoch", "epoch", unit="count", format_spec=".0f"),
    Metric("log_z", "log Z, by importance sampling", unit="nats"),
    Metric("log_z_error", "standard error of log Z, by importance sampling", "min", "nats"),
    Metric("log_z_sobol", "log Z, by Sobol points", unit="nats"),
    Metric("log_z_sobol_error", "standard error of log Z, by Sobol points", "min", "nats"),
    Metric("seconds", "seconds of training", unit="seconds"),
    Metric("steps", "steps", unit="count", format_spec=".0f"),
    Metric("parameters", "parameters", unit="count", format_spec=".0f"),
    Metric("train_rows", "training rows", unit="count", format_spec=".0f"),
    Metric("tested_epoch", "epoch of the tested checkpoint", unit="count", format_spec=".0f"),
)
VALIDATED = tuple(metric for metric in METRICS if metric.validated)
CURVES = tuple(f"{metric.curve}/{metric.name}" for metric in METRICS if metric.curve)

_PLACES = {metric.name: place for place, metric in enumerate(METRICS)}


def find_metric(key: str) -> Metric:
    """Return the metric of a key: `test/accuracy`, `rotated_30/accuracy`, `seconds`, `lr/means`.

    A metric of the user's own is printed with four significant digits, has no unit, and no goal.
    """
    name = key.rpartition("/")[2]
    for part in (name, key.partition("/")[0]):  # the latter of one that has no splits: lr/means
        if part in _PLACES:
            return METRICS[_PLACES[part]]
    return Metric(name, name)


def sort_names(names: Iterable[str]) -> list[str]:
    """Return names of metrics in the order in which they are shown, the user's own at the end."""
    return sorted(names, key=lambda name: (_PLACES.get(name, len(METRICS)), name))


def label_column(key: str) -> str:
    """Return the heading of a key's column in a table: `test/accuracy (%)`, `test/nll`."""
    return f"{key} (%)" if find_metric(key).unit == "share" else key


def label_axis(key: str) -> str:
    """Return the label of a key's axis in a picture: `test/accuracy (%)`, `test/nll (nats)`."""
    sign = _UNIT_SIGNS.get(find_metric(key).unit)
    return f"{key} ({sign})" if sign else key
