"""Training curves: what a run logged, against its steps and epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ugmm.metrics import find_metric
from ugmm.report.escaping import for_plot
from ugmm.report.style import FIRST, INK, MUTED, SECOND, SERIES, label_log, new_figure, tidy
from ugmm.spec import Target

__all__ = ["find_steps_per_epoch", "running_mean", "training_curves"]

History = Sequence[Mapping[str, float | None]]

_SPLITS = {"train": (FIRST, "training"), "val": (SECOND, "validation")}


class _Line(NamedTuple):
    """One metric on a panel.

    Attributes:
        key: Its column of `metrics.csv`.
        colour: Of the line.
        label: Its legend.
        sign: -1 where what is better upwards stands beside a loss.
    """

    key: str
    colour: str
    label: str
    sign: int = 1


class _Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        ylabel: Its label.
        lines: What is drawn on it.
        best: Whether the best value is marked in the validation's line.
        may_be_log: Whether values that span more than a decade get a logarithmic axis.
        context: Whether it is no result: drawn smaller, without a legend.
    """

    ylabel: str
    lines: tuple[_Line, ...]
    best: bool = False
    may_be_log: bool = False
    context: bool = False


def training_curves(
    history: History,
    title: str,
    *,
    loss_is_nll: bool | None = None,
    target: Target | None = None,
) -> Figure:
    """Draw a run's loss, its validation and its learning rate against its steps.

    Metrics that were never logged get no panel. Where a step was logged twice (by a run that
    resumed from an earlier checkpoint) the later row counts.

    Args:
        history: The lines of `metrics.csv`: dicts with `epoch` and `step` (both counted from 0)
            and any of `train/loss`, `train/accuracy`, `val/accuracy`, `val/nll`, `val/score`,
            `train/claimed`, `train/log_prob`, `val/log_prob` and `lr` (or `lr/<group>`); or, of a
            number that is predicted, `val/nlpd`, `val/crps`, `val/rmse` and `val/coverage_90`;
            None or no key where a line has no such value.
        title: The figure's title, for instance the run's name.
        loss_is_nll: Whether `train/loss` is a cross-entropy, and so may share its axis with
            `val/nll`. A generative loss may not: it is a negative score, which is not normalised
            and stands beside `-val/score`, or the objective of a density. By default a run that
            logs `val/score` or `val/log_prob` is taken for generative. (Label smoothing adds to
            `train/loss` and not to `val/nll`.)
        target: The number that is predicted; None where there are classes.
    """
    if loss_is_nll is None:
        loss_is_nll = not any(_read(history, f"val/{m}")[0].size for m in ("score", "log_prob"))
    panels = _class_panels(loss_is_nll, history) if target is None else _number_panels(target)
    panels = [*panels, _Panel(find_metric("lr").axis, (_line(_rate(history)),), context=True)]
    panels = [panel for panel in panels if any(_read(history, m.key)[0].size for m in panel.lines)]
    columns = len(panels) if len(panels) <= 3 else math.ceil(len(panels) / 2)
    lines = math.ceil(len(panels) / max(columns, 1))
    figure = new_figure(max(4.6 * columns, 6), 3.6 * max(lines, 1) + 0.4, title)
    if not panels:
        figure.text(0.5, 0.45, "no metrics were logged", ha="center", fontsize=11, color=MUTED)
        return figure
    # The learning rate is context, not a result: less room for it where all stand in one row.
    widths = [0.7 if lines == 1 and p.context else 1.0 for p in panels[:columns]]
    grid = figure.add_gridspec(lines, columns, width_ratios=widths)
    for index, panel in enumerate(panels):
        _draw(figure.add_subplot(grid[divmod(index, columns)]), panel, history)
    return figure


def _line(key: str, sign: int = 1) -> _Line:
    """A metric in the colour of its split."""
    colour, label = _SPLITS.get(key.partition("/")[0], _SPLITS["train"])
    return _Line(key, colour, label, sign)


def _rate(history: History) -> str:
    """The key of the learning rate: of a group as lr/<group>, which all share one schedule."""
    keys = dict.fromkeys(key for row in history for key in row)
    return next((key for key in keys if key == "lr" or key.startswith("lr/")), "lr")


def _number_panels(target: Target) -> list[_Panel]:
    """What may have been logged of a number that is predicted."""
    units, unit = f" of {for_plot(target.name)}", f" ({for_plot(target.unit)})"
    units += unit if target.unit else ""
    return [
        # In the units of the network, whose targets are standardised.
        _Panel(f"{find_metric('loss').axis}, of standardised targets", (_line("train/loss"),)),
        _Panel(find_metric("nlpd").axis, (_line("val/nlpd"),), best=True),
        _Panel(find_metric("crps").axis + units, (_line("val/crps"),), best=True),
        _Panel(find_metric("rmse").axis + units, (_line("val/rmse"),), best=True),
        _Panel(find_metric("coverage_90").axis, (_line("val/coverage_90"),)),
    ]


def _class_panels(loss_is_nll: bool, history: History) -> list[_Panel]:
    """What may have been logged of classes."""
    loss, nll = _line("train/loss"), _line("val/nll")
    if loss_is_nll:
        losses = [_Panel("cross-entropy (nats)", (loss, nll), best=True, may_be_log=True)]
    else:
        normalised = not _read(history, "val/score")[0].size
        score = find_metric("loss").axis if normalised else f"negative {find_metric('score').axis}"
        density = (
            _Line("train/claimed", SERIES[2], "training, as the loss claims"),
            _Line("train/log_prob", FIRST, "training, verified"),
            _line("val/log_prob"),
        )
        losses = [
            _Panel(find_metric("log_prob").axis, density, best=True),
            _Panel(score, (loss, _line("val/score", sign=-1))),
            _Panel(find_metric("nll").axis, (nll,), best=True, may_be_log=True),
        ]
    accuracy = (_line("train/accuracy"), _line("val/accuracy"))
    return [*losses, _Panel(find_metric("accuracy").axis, accuracy, best=True)]


def _read(history: History, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which a metric was logged, and its values: NaN where they are not finite."""
    logged = {
        step: value
        for row in history
        if (step := row.get("step")) is not None and (value := row.get(metric)) is not None
    }
    steps = np.array(sorted(logged), dtype=float)
    values = np.array([logged[step] for step in steps], dtype=float)
    return steps, np.where(np.isfinite(values), values, np.nan)


def _draw(axes: Axes, panel: _Panel, history: History) -> None:
    steps_per_epoch = find_steps_per_epoch(history)
    end = max(step for row in history if (step := row.get("step")) is not None) + 1
    shown = []
    for line in panel.lines:
        steps, values = _read(history, line.key)
        if steps.size:
            values = line.sign * find_metric(line.key).factor * values
            values = _draw_line(axes, line, steps, values, steps_per_epoch, best=panel.best)
            # The first steps may run off the axis: they would flatten all that follows.
            later = values[steps >= 0.04 * end]
            shown.append(later if np.isfinite(later).any() else values)
    tidy(axes, "step", panel.ylabel)
    _label_steps(axes, end, steps_per_epoch)
    _limit_values(axes, panel, np.concatenate(shown))
    if not panel.context:
        axes.legend(fontsize=9, labelcolor=INK, framealpha=0.85, edgecolor="none")


def _draw_line(
    axes: Axes,
    line: _Line,
    steps: np.ndarray,
    values: np.ndarray,
    steps_per_epoch: float,
    *,
    best: bool,
) -> np.ndarray:
    """Draw one metric; returns the values of its main line."""
    validation = line.key.startswith("val/")
    colour, label = line.colour, line.label
    not_finite = int(np.isnan(values).sum())
    if line.key.startswith("train/") and steps.size >= 30:
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
        window = steps.size // 30 * 2 + 1
        values = running_mean(values, window)
        label += f" (mean of {window} points)"
    if best and validation and steps.size - not_finite > 1:
        at = (np.nanargmax if find_metric(line.key).goal == "max" else np.nanargmin)(values)
        epoch = (steps[at] + 1) / steps_per_epoch
        label += f", best {values[at]:.4g} at epoch {epoch:.4g}"
        axes.plot(steps[at], values[at], "o", markersize=9, markerfacecolor="none", color=colour)
    if not_finite:
        label += f"\n({not_finite} not finite: not drawn)"
    marker = "o" if steps.size == 1 or (validation and steps.size <= 60) else ""
    axes.plot(
        steps, values, marker=marker, markersize=3.5, linewidth=1.6, color=colour, label=label
    )
    return values


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the `window` values around each, NaN where the value itself is NaN.

    Near the start the window shrinks on both sides, for a mean of what follows alone would hide
    how steeply a loss falls; near the end, where it is flat, on the right side only.
    """
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    index = np.arange(values.size)
    half = np.minimum(window // 2, index)
    low, high = index - half, np.minimum(index + half + 1, values.size)
    count = np.maximum(counts[high] - counts[low], 1)
    return np.where(finite, (sums[high] - sums[low]) / count, np.nan)


def find_steps_per_epoch(history: History) -> float:
    """Return how many steps make an epoch, from the last step seen in each epoch.

    Args:
        history: See `training_curves`.
    """
    last: dict[float, float] = {}
    for row in history:
        epoch, step = row.get("epoch"), row.get("step")
        if epoch is not None and step is not None:
            last[epoch] = max(step, last.get(epoch, 0))
    epochs = sorted(last)
    if len(epochs) >= 3:  # the last one may have been cut short
        return (last[epochs[-2]] - last[epochs[0]]) / (epochs[-2] - epochs[0])
    return (last[epochs[-1]] + 1) / (epochs[-1] + 1) if epochs else 1.0


def _label_steps(axes: Axes, end: float, steps_per_epoch: float) -> None:
    """The same steps on every panel's x axis, and the epochs above them."""
    axes.set_xlim(-0.02 * end, 1.02 * end)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if steps_per_epoch <= 1:
        axes.set_xlabel("step (one an epoch)")
        return
    epochs = axes.secondary_xaxis(
        "top",
        functions=(
            lambda step: np.add(step, 1) / steps_per_epoch,
            lambda epoch: np.multiply(epoch, steps_per_epoch) - 1,
        ),
    )
    epochs.set_xlabel("epoch", fontsize=10, color=INK)
    epochs.tick_params(labelsize=9, color=MUTED, labelcolor=INK)
    epochs.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    epochs.spines["top"].set_visible(False)


def _limit_values(axes: Axes, panel: _Panel, values: np.ndarray) -> None:
    values = values[np.isfinite(values)]
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if panel.may_be_log and low > 0 and high > 10 * low:
        axes.set_yscale("log")
        label_log(axes.yaxis, low, high)
        axes.set_ylabel(f"{panel.ylabel[:-1]}, log scale)")
    elif high > low:
        margin = 0.08 * (high - low)
        axes.set_ylim(low - margin, high + margin)
