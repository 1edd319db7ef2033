"""The critical-difference diagram: mean ranks of models, and which are not told apart."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ugmm.report.comparisons import cliques, rank_models
from ugmm.report.escaping import for_plot
from ugmm.report.study.tables import Case
from ugmm.report.style import FIRST, INK, MUTED, new_figure, shorten

__all__ = ["draw_ranks"]


def draw_ranks(cases: Sequence[Case], title: str, first: str) -> Figure:
    """Draw a panel for each case: a row for each share missing, a column for each metric.

    Args:
        cases: See `ugmm.report.study.tables.gather`; at least one.
        title: Above the figure.
        first: The model whose name is coloured.
    """
    shares = list(dict.fromkeys(case.missing for case in cases))
    metrics = list(dict.fromkeys(case.metric for case in cases))
    most = max(len(case.ranked[0]) for case in cases)
    height = 1.35 + 0.2 * most
    figure = new_figure(5.4 * len(metrics), 0.9 + height * len(shares), for_plot(title))
    grid = figure.subplots(len(shares), len(metrics), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for case in cases:
        _draw(grid[shares.index(case.missing), metrics.index(case.metric)], case, first)
    label = "mean rank over tables, best to the left"
    if any(case.is_tested for case in cases):
        label += "; joined: not told apart by Nemenyi's test (5%)"
    figure.supxlabel(label, fontsize=9, color=MUTED)
    return figure


def _draw(axes: Axes, case: Case, first: str) -> None:
    models, values = case.ranked
    axes.set_title(for_plot(case.title), fontsize=10, color=INK)
    if len(models) < 2:
        return
    found = rank_models(values)
    k, order = len(models), np.argsort(found.means, kind="stable")
    groups = cliques(found.means.tolist(), found.critical) if case.is_tested else []
    axes.set_xlim(1 - 0.42 * (k - 1), k + 0.42 * (k - 1))
    left = (k + 1) // 2
    lowest = -0.9 - 0.42 * len(groups) - left
    axes.set_ylim(lowest - 0.4, 1.6)
    axes.plot([1, k], [0, 0], color=INK, linewidth=1)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, 0.15], color=INK, linewidth=1)
        axes.text(rank, 0.25, str(rank), ha="center", va="bottom", fontsize=8, color=INK)
    if case.is_tested:
        _draw_critical(axes, found.critical, k)
    for level, group in enumerate(groups):
        ends = [found.means[group[0]] - 0.06, found.means[group[-1]] + 0.06]
        axes.plot(ends, [-0.5 - 0.42 * level] * 2, color=INK, linewidth=3.2)
    top = -0.9 - 0.42 * len(groups)
    for place, model in enumerate(order):
        on_left = place < left
        height = top - (place if on_left else k - 1 - place)
        end, mean = (1 - 0.04 * k if on_left else k + 0.04 * k), found.means[model]
        colour = FIRST if models[model] == first else INK
        axes.plot([mean, mean, end], [0, height, height], color=colour, linewidth=0.9)
        text = f"{shorten(models[model])}  {mean:.1f}"
        if not on_left:
            text = f"{mean:.1f}  {shorten(models[model])}"
        axes.text(
            end + (-0.08 if on_left else 0.08),
            height,
            text,
            ha="right" if on_left else "left",
            va="center",
            fontsize=9,
            color=colour,
        )


def _draw_critical(axes: Axes, critical: float, k: int) -> None:
    """Draw the critical difference as a length on the axis of ranks, above them."""
    end, text = min(1 + critical, k), f"critical difference {critical:.2f}"
    axes.plot([1, end], [1.25, 1.25], color=MUTED, linewidth=1.5)
    axes.text(end + 0.1, 1.25, text, va="center", fontsize=8, color=MUTED)
