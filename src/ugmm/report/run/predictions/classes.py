"""How well a classifier predicts: its confusions and its calibration."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from ugmm.calibration import BINS, bin_confidences
from ugmm.metrics import find_metric
from ugmm.report.statistics import wilson_interval
from ugmm.report.style import FIRST, INK, MUTED, SECOND, label_log, new_figure, tidy

__all__ = ["confusion_matrix", "reliability_diagram"]


def confusion_matrix(counts: ArrayLike, class_names: Sequence[str]) -> Figure:
    """Draw how often each class was taken for each other.

    Args:
        counts: (C, C), rows the true classes, columns the predicted ones.
        class_names: The C names, in the order of the rows.
    """
    counts = np.asarray(counts)
    total = counts.sum()
    if total:
        right = find_metric("accuracy").format_alone(np.trace(counts) / total)
        accuracy = f"accuracy {right} of {total:,} samples"
    else:
        accuracy = "no samples"
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes, cell = len(class_names), 1.05 if len(class_names) <= 5 else 0.62
    figure = new_figure(cell * classes + 3, cell * classes + 1.3, f"Confusions: {accuracy}")
    axes = figure.subplots()
    # With linear colours an error of one in a hundred is white; the power makes it visible.
    norm = PowerNorm(0.25, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap="Blues", norm=norm)
    tidy(axes, "predicted class", "true class")
    axes.grid(visible=False)
    longest = max(map(len, class_names), default=0)
    rotation = 45 if 0.085 * longest > cell else 0  # inches: a letter of 9 points, a cell
    ha = "right" if rotation else "center"
    axes.set_xticks(range(classes), class_names, rotation=rotation, ha=ha, rotation_mode="anchor")
    axes.set_yticks(range(classes), class_names)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if norm(shares[row, column]) > 0.6 else INK if count else "#A0A0A0"
        axes.text(column, row, f"{count}", ha="center", va="center", fontsize=10, color=colour)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.001, 0.01, 0.1, 1], shrink=0.85)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    bar.ax.tick_params(labelsize=9, color=MUTED, labelcolor=INK)
    bar.set_label("share of the true class's samples", fontsize=10, color=INK)
    bar.outline.set_visible(False)
    return figure


def reliability_diagram(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> Figure:
    """Draw how often a classifier is right, against how sure it is.

    The title gives the expected calibration error (ECE) of these bins; see
    `ugmm.calibration.Calibration.error`.

    Args:
        confidence: (n,), the probability of the predicted class, in [0, 1].
        correct: (n,), 1 or True where the predicted class is the true one.
        bins: The number of equal-width bins.
    """
    confidence = np.asarray(confidence)
    binned = bin_confidences(confidence, np.asarray(correct), bins)
    count, hits, sure = binned.rows, binned.hits, binned.sure
    used = count > 0
    left = np.linspace(0, 1, bins + 1)[:-1][used]
    ece = f"ECE {binned.error:.4f} ({bins} bins, {len(confidence):,} samples)"
    figure = new_figure(6, 6.4, f"Reliability: {ece if len(confidence) else 'no samples'}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_accuracy(upper, left, 1 / bins, count[used], hits[used], sure[used])
    lower.bar(left, count[used], 1 / bins, align="edge", color=MUTED, edgecolor="white")
    # A good classifier is sure of nearly all: on a linear axis the other bins would vanish.
    lower.set_yscale("log")
    most = max(count.max(), 10)
    label_log(lower.yaxis, 1, most)
    lower.set_ylim(0.7, 1.3 * most)
    tidy(lower, "confidence (probability of the predicted class)", "samples\n(log scale)")
    return figure


def _draw_accuracy(
    axes: Axes,
    left: np.ndarray,
    width: float,
    count: np.ndarray,
    hits: np.ndarray,
    sure: np.ndarray,
) -> None:
    accuracy, confidence = hits / count, sure / count
    low, high = np.minimum(accuracy, confidence), np.maximum(accuracy, confidence)
    axes.bar(left, low, width, align="edge", color="#CCE3F2", edgecolor="white")
    axes.bar(
        left,
        high - low,
        width,
        bottom=low,
        align="edge",
        facecolor="#FBE6DA",
        edgecolor=SECOND,
        hatch="///",
        linewidth=0,
        label="gap to the bin's mean confidence",
    )
    axes.hlines(
        accuracy, left, left + width, color=FIRST, linewidth=3, label="accuracy in the bin"
    )
    lower, upper = wilson_interval(hits, count)
    axes.vlines(left + width / 2, lower, upper, color=INK, linewidth=1, label="its 95% interval")
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, label="accuracy = confidence")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.01, 1.01)
    tidy(axes, ylabel="accuracy (share of correct predictions)")
    legend = axes.legend(ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    legend.set_loc("lower center")
    legend.set_bbox_to_anchor((0.5, 1))
