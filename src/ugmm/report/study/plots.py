"""The pictures of an ablation: curves with bands over seeds, and the final metric as dots."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ugmm.metrics import find_metric, label_axis
from ugmm.report.escaping import for_plot
from ugmm.report.statistics import Record
from ugmm.report.study.variants import Row
from ugmm.report.style import INK, MUTED, SERIES, Look, find_look, new_figure, tidy

__all__ = ["final_dots", "looks_of", "validation_curves"]

History = Sequence[Mapping[str, float | None]]
_SETTLED = 0.5  # the share of a variant's epochs, at the end, by which the axis is scaled
_COLUMNS, _LINE = 3, 0.19  # of the curves' legend: and the inches that a line of it takes


def looks_of(rows: Sequence[Row], goal: str, baseline: str) -> dict[str, Look]:
    """Give each variant a look of its own.

    Of more than eight, the baseline and the best seven are solid lines.

    Args:
        rows: See `compare_variants`.
        goal: `max` or `min`: which are the best.
        baseline: A variant.
    """
    sign = -1 if goal == "max" else 1
    ranked = sorted(rows, key=lambda row: (row.variant != baseline, sign * row.metric.mean))
    solid = {row.variant for row in ranked[: len(SERIES)]}
    names = [row.variant for row in rows]
    looks = {
        name: find_look(number)
        for number, name in enumerate(sorted(names, key=lambda name: name not in solid))
    }
    return {name: looks[name] for name in names}


def validation_curves(
    histories: Mapping[str, Sequence[History]],
    metrics: Sequence[str],
    title: str,
    looks: Mapping[str, Look],
) -> Figure:
    """Draw validation metrics by epoch: each variant's mean, with a band from least to most.

    Lines that are dashed have no band.

    Args:
        histories: By variant, the lines of `metrics.csv` of each of its runs.
        metrics: Names such as `val/accuracy`, a panel each; those never logged are left out.
        title: Above the figure.
        looks: See `looks_of`.
    """
    curves = {
        metric: {variant: _by_epoch(runs, metric) for variant, runs in histories.items()}
        for metric in metrics
    }
    shown = [metric for metric in metrics if any(len(c[0]) for c in curves[metric].values())]
    names = _labels(list(histories))
    texts = sum(text.count("\n") + 1 for text in names.values())
    height = 4.6 + _LINE * max(math.ceil(texts / _COLUMNS) - 3, 0)
    figure = new_figure(max(5.6 * len(shown), 7), height, for_plot(title))
    if not shown:
        figure.text(0.5, 0.45, "no validation was logged", ha="center", fontsize=11, color=MUTED)
        return figure
    grid = figure.subplots(1, len(shown), squeeze=False)[0]
    lines: dict[str, Artist] = {}
    for axes, metric in zip(grid, shown, strict=True):
        lines |= _draw_curves(axes, metric, curves[metric], looks)
    several = any(len(runs) > 1 for runs in histories.values())
    bands = "band" if all(looks[name].is_solid for name in lines) else "band of solid lines"
    order = [name for name in names if name in lines]
    legend = figure.legend(
        [lines[name] for name in order],
        [names[name] for name in order],
        loc="outside lower center",
        ncols=_COLUMNS,
        handlelength=3,  # in which dashes are seen
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        title=f"mean over runs, {bands} from least to most" if several else None,
        title_fontsize=9,
    )
    legend.get_title().set_color(INK)
    return figure


def final_dots(
    rows: Sequence[Row],
    records: Sequence[Record],
    metric: str,
    baseline: str,
    title: str,
    looks: Mapping[str, Look],
) -> Figure:
    """Draw a metric's mean and 95% interval for each variant, a small dot for each run.

    The diamond of a variant whose line is dashed is hollow.

    Args:
        rows: See `compare_variants`; the first is drawn at the top.
        records: The runs.
        metric: What is drawn.
        baseline: Whose mean becomes a line.
        title: Above the figure.
        looks: See `looks_of`.
    """
    factor = find_metric(metric).factor
    figure = new_figure(8, 1.7 + 0.42 * len(rows), for_plot(title))
    axes = figure.subplots()
    for height, row in enumerate(rows):
        look, mean = looks[row.variant], factor * row.metric.mean
        colour = look.colour
        of_row = [r for r in records if r.variant == row.variant and metric in r.summary]
        runs = [factor * record.summary[metric] for record in of_row]
        # A little above and below, by seed, so that equal ones are both seen.
        places = height + np.linspace(-0.16, 0.16, len(runs)) if len(runs) > 1 else [height]
        axes.plot(runs, places, "o", markersize=3.5, color=colour, alpha=0.45, linewidth=0)
        if row.metric.low is not None and row.metric.high is not None:
            ends = [factor * row.metric.low, factor * row.metric.high]
            axes.plot(ends, [height, height], color=colour, linewidth=2.4, solid_capstyle="butt")
        within = colour if look.is_solid else "white"
        axes.plot([mean], [height], "D", markersize=6.5, color=colour, markerfacecolor=within)
        if row.variant == baseline:
            axes.axvline(mean, color=MUTED, linewidth=1, linestyle="--", zorder=0)
    tidy(axes, for_plot(label_axis(metric)))
    axes.set_yticks(range(len(rows)), _labels([row.variant for row in rows]).values())
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    about = "diamond: mean; bar: 95% bootstrap interval; dots: runs; dashed: the baseline's mean"
    if not all(looks[row.variant].is_solid for row in rows):
        about += f"\nhollow: neither the baseline nor one of the best {len(SERIES) - 1}"
    # Of the figure: beside long names the axes may be narrower than it is.
    figure.supxlabel(about, fontsize=9, color=MUTED)
    return figure


def _by_epoch(runs: Sequence[History], metric: str) -> tuple[np.ndarray, ...]:
    """The epochs, from 1, at which a metric was logged, and its mean, least and most over runs."""
    found: dict[int, list[float]] = {}
    for run in runs:
        last = {row["epoch"]: row[metric] for row in run if row.get(metric) is not None}
        for epoch, value in last.items():
            if epoch is not None and value is not None and np.isfinite(value):
                found.setdefault(int(epoch) + 1, []).append(value)
    epochs = sorted(found)
    return (
        np.array(epochs),
        np.array([np.mean(found[epoch]) for epoch in epochs]),
        np.array([min(found[epoch]) for epoch in epochs]),
        np.array([max(found[epoch]) for epoch in epochs]),
    )


def _draw_curves(
    axes: Axes,
    metric: str,
    curves: Mapping[str, tuple[np.ndarray, ...]],
    looks: Mapping[str, Look],
) -> dict[str, Artist]:
    """Draw one panel, and return the line of each variant for the legend."""
    factor = find_metric(metric).factor
    settled: list[float] = []
    lines: dict[str, Artist] = {}
    for variant, (epochs, mean, low, high) in curves.items():
        if not len(epochs):
            continue
        look = looks[variant]
        colour, style = look
        width, above = 1.1, 2
        if look.is_solid:
            width, above = 1.6, 3
            axes.fill_between(epochs, factor * low, factor * high, color=colour, alpha=0.15, lw=0)
        marker = "o" if len(epochs) < 15 else ""
        (lines[variant],) = axes.plot(
            epochs, factor * mean, marker=marker, ms=3,
            color=colour, linestyle=style, lw=width, zorder=above,
        )  # fmt: skip
        late = epochs >= (1 - _SETTLED) * epochs[-1]
        settled += [*(factor * low[late]), *(factor * high[late])]
    tidy(axes, "epoch", for_plot(label_axis(metric)))
    # By where the curves end: the first epochs would flatten all that follows.
    lowest, highest = min(settled, default=0.0), max(settled, default=1.0)
    margin = 0.35 * (highest - lowest) or 0.05 * abs(highest) or 1.0
    bottom, top = lowest - margin, highest + margin
    if find_metric(metric).unit == "share":
        top = min(top, 100.5)
    axes.set_ylim(max(bottom, 0.0) if lowest >= 0 else bottom, top)
    return lines


def _labels(variants: Sequence[str], width: int = 40) -> dict[str, str]:
    """Name variants for a figure: by the last parts of their keys, in lines of limited width."""
    short = {name: re.sub(r"[\w.]+\.(\w+=)", r"\1", name) for name in variants}
    if len(set(short.values())) < len(short):
        short = {name: name for name in variants}
    return {name: for_plot(textwrap.fill(text, width)) for name, text in short.items()}
