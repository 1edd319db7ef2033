"""How well a number is predicted: what was true and what was predicted, and how sure of it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike
from scipy.stats import binom

from ugmm.metrics import find_metric
from ugmm.report.escaping import for_plot
from ugmm.report.style import FIRST, INK, MUTED, SECOND, new_figure, tidy
from ugmm.report.tables import NONE
from ugmm.spec import Target

__all__ = ["predicted_numbers", "target_calibration"]

_SHOWN = 300  # rows, of which each has an interval: more would be a smear
_BAND = 0.95  # of the rows' counts, were predictions calibrated
_ROWS_A_BIN, _BINS = 10, 20  # at least so many, at most so many


def predicted_numbers(
    true: ArrayLike, mean: ArrayLike, low: ArrayLike, high: ArrayLike, target: Target
) -> Figure:
    """Draw what was predicted of each row against what was true, with its 90% interval.

    An interval that misses the truth is drawn in another colour. Of more than 300 rows, 300 are
    drawn, from the least true number to the greatest at equal distances in rank.

    Args:
        true: The targets, (n,).
        mean: The predicted means, (n,).
        low: Where each interval begins, (n,).
        high: Where it ends, (n,).
        target: What the number is.
    """
    true, mean, low, high = (np.asarray(values, dtype=float) for values in (true, mean, low, high))
    off, spread = np.square(true - mean).mean(), np.square(true - true.mean()).mean()
    r2 = find_metric("r2").format_alone(1 - off / spread) if spread else NONE
    error = find_metric("rmse").format_alone(np.sqrt(off))
    rows = f"R squared {r2}, root mean squared error {error}, {len(true):,} rows"
    order = np.argsort(true, kind="stable")
    if len(true) > _SHOWN:
        order = order[np.linspace(0, len(true) - 1, _SHOWN).round().astype(int)]
        rows += f", {_SHOWN} shown"
    figure = new_figure(6.4, 6.6, f"Predicted against true\n{rows}")
    axes = figure.subplots()
    true, mean, low, high = (values[order] for values in (true, mean, low, high))
    holds = (low <= true) & (true <= high)
    for chosen, colour, label in (
        (holds, FIRST, "mean, and 90% interval that holds the truth"),
        (~holds, SECOND, "mean, and 90% interval that does not"),
    ):
        at = true[chosen], mean[chosen]
        axes.vlines(at[0], low[chosen], high[chosen], color=colour, linewidth=0.8, alpha=0.45)
        axes.plot(*at, "o", markersize=3.6, color=colour, label=label)
    ends = float(true.min()), float(true.max())
    axes.plot(ends, ends, "--", color=MUTED, linewidth=1, label="predicted = true")
    tidy(axes, f"true {for_plot(target.label)}", f"predicted {for_plot(target.label)}")
    legend = axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    legend.set_loc("lower center")
    legend.set_bbox_to_anchor((0.5, 1))
    return figure


def target_calibration(pit: ArrayLike) -> Figure:
    """Draw whether predicted distributions are as wide as they should be, in two ways.

    On the left, how often the truth was found where in its predicted distribution, which is
    uniform if they are calibrated: a hump says that they are too wide, a bowl that they are too
    narrow. On the right, how many rows central intervals hold, against how many they should. Grey
    is where 95% of the counts are of predictions that are calibrated.

    Args:
        pit: What was predicted to be the probability of a number no larger than the true one, of
            each row, (n,).
    """
    pit = np.asarray(pit, dtype=float)
    held = find_metric("coverage_90").format_alone((np.abs(pit - 0.5) <= 0.45).mean())
    title = f"Calibration: 90% intervals hold {held} of {len(pit):,} rows"
    figure = new_figure(9.6, 4.6, title)
    left, right = figure.subplots(1, 2)
    _draw_histogram(left, pit)
    _draw_coverage(right, pit)
    return figure


def _draw_histogram(axes: Axes, pit: np.ndarray) -> None:
    bins = int(np.clip(len(pit) // _ROWS_A_BIN, 2, _BINS))
    low, high = binom.interval(_BAND, len(pit), 1 / bins)
    axes.axhspan(low, high, color=MUTED, alpha=0.2, linewidth=0, label="95% if calibrated")
    counts, edges = np.histogram(pit, bins, (0.0, 1.0))
    axes.bar(
        edges[:-1], counts, 1 / bins, align="edge", color=FIRST, alpha=0.75, edgecolor="white"
    )
    axes.axhline(len(pit) / bins, color=MUTED, linewidth=1, linestyle="--", label="uniform")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.25 * max(counts.max(), high))
    tidy(axes, "predicted probability of a smaller number", "rows")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper center", ncols=2)


def _draw_coverage(axes: Axes, pit: np.ndarray) -> None:
    levels = np.linspace(0, 1, 101)
    # The least level of a central interval that holds a row's truth.
    needed = np.sort(2 * np.abs(pit - 0.5))
    held = np.searchsorted(needed, levels, side="right") / len(pit)
    low, high = binom.interval(_BAND, len(pit), levels[1:-1])
    band = np.array([[0, *low, len(pit)], [0, *high, len(pit)]]) / len(pit)
    axes.fill_between(levels, *band, color=MUTED, alpha=0.2, linewidth=0)
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    axes.plot(levels, held, color=FIRST, linewidth=1.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    tidy(axes, "rows that a central interval should hold", "rows that it holds")
