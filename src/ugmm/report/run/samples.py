"""What a density has learned: its draws beside the data, as a pair plot or as images."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from ugmm.report.run.neurons import tiles
from ugmm.report.style import INK, MUTED, SERIES, new_figure, tidy

__all__ = ["draw_contours", "image_completions", "image_samples", "pair_plot", "smooth_counts"]

_CELLS = 40  # of a grid on which draws are counted, along each side
_SHARES = (0.9, 0.5)  # of the draws that lie within a contour
_FEATURES = 5  # at most, or the plots would be too small


def pair_plot(
    x: ArrayLike,
    y: ArrayLike,
    draws: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    feature_names: Sequence[str] = (),
) -> Figure:
    """Draw every pair of features: data above the diagonal, a model's draws below it.

    The contours, the same on both sides, hold 50% and 90% of each class's draws. The diagonal has
    both distributions. Of more than five features the first five are drawn.

    Args:
        x: Data, (n, D).
        y: Its labels, (n,).
        draws: What the model drew, (m, D).
        labels: Their labels, (m,).
        class_names: C names.
        feature_names: D names, or none.
    """
    x, y, draws, labels = (np.asarray(values) for values in (x, y, draws, labels))
    size = min(x.shape[1], _FEATURES)
    names = list(feature_names)[:size] or [f"feature {k}" for k in range(size)]
    left_out = f" (the first {size} of {x.shape[1]} features)" if size < x.shape[1] else ""
    title = f"Data above the diagonal, the model's draws below it{left_out}"
    figure = new_figure(2.3 * size + 1.2, 2.3 * size + 1, title)
    grid = figure.subplots(size, size, squeeze=False, sharex="col")
    low, high = _limits(x, draws)
    margin = 0.12 * (high - low)
    for row, column in itertools.product(range(size), range(size)):
        axes, pair = grid[row, column], [column, row]
        tidy(axes)
        axes.set_xlim(low[column] - margin[column], high[column] + margin[column])
        axes.locator_params(nbins=5)
        if row == column:
            _draw_marginals(axes, x[:, row], y, draws[:, row], labels)
        else:
            above = row < column
            points, of = (x, y) if above else (draws[: 3 * len(x)], labels[: 3 * len(x)])
            axes.set_ylim(low[row] - margin[row], high[row] + margin[row])
            for c in range(len(class_names)):
                chosen = points[of == c][:, pair].T
                axes.plot(*chosen, ".", markersize=3, alpha=0.5, color=_colour(c))
                draw_contours(axes, draws[labels == c][:, pair], _colour(c))
        if row == size - 1:
            axes.set_xlabel(names[column], fontsize=9, color=INK)
        if column == 0:
            axes.set_ylabel(names[row], fontsize=9, color=INK)
        elif row != column:
            axes.tick_params(labelleft=False)
    marks = [
        Line2D([], [], color=_colour(c), marker="o", markersize=4, label=name)
        for c, name in enumerate(class_names)
    ]
    marks.append(Line2D([], [], color=MUTED, linestyle="-", label="draws (on the diagonal)"))
    figure.legend(handles=marks, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _limits(x: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The data's range; where they do not vary, that of most draws too."""
    low, high = np.nanmin(x, 0), np.nanmax(x, 0)
    constant = low == high
    drawn_low, drawn_high = np.quantile(draws, (0.01, 0.99), axis=0)
    low = np.where(constant, np.minimum(low, drawn_low) - 1e-3, low)
    return low, np.where(constant, np.maximum(high, drawn_high) + 1e-3, high)


def _colour(c: int) -> str:
    return SERIES[c % len(SERIES)]


def _draw_marginals(
    axes: Axes, x: np.ndarray, y: np.ndarray, draws: np.ndarray, labels: np.ndarray
) -> None:
    """Histograms of the data that are known, and over them the outlines of the draws'."""
    known = ~np.isnan(x)
    x, y = x[known], y[known]
    edges = np.linspace(*axes.get_xlim(), 25).tolist()
    for c in np.unique(y):
        width = edges[1] - edges[0]
        share = np.full((y == c).sum(), 1 / (len(y) * width))
        axes.hist(x[y == c], edges, weights=share, color=_colour(c), alpha=0.3)
        drawn = draws[labels == c]
        share = np.full(len(drawn), 1 / (len(labels) * width))
        axes.hist(drawn, edges, weights=share, histtype="step", color=_colour(c), linewidth=1.4)
    axes.tick_params(labelleft=False, left=False)
    axes.grid(visible=False)


def draw_contours(axes: Axes, draws: np.ndarray, colour: str) -> None:
    """Draw lines that hold 90% and 50% of the draws, from their counts on a smoothed grid.

    Nothing is drawn of fewer than 20 draws, or where the lines would not lie apart.

    Args:
        axes: Whose limits the grid has.
        draws: Points, (m, 2).
        colour: Of the lines.
    """
    if len(draws) < 20:
        return
    cells = [np.linspace(*limits, _CELLS + 1) for limits in (axes.get_xlim(), axes.get_ylim())]
    counts, *_ = np.histogram2d(draws[:, 0], draws[:, 1], bins=cells)
    smooth = smooth_counts(counts)
    ordered = np.sort(smooth.ravel())[::-1]
    held = ordered.cumsum() / len(draws)  # draws outside the axes count, as held by nothing
    at = np.searchsorted(held, _SHARES).clip(max=len(ordered) - 1)
    levels = ordered[at]
    if not 0 < levels[0] < levels[1] < smooth.max():
        return
    centres = [(edges[1:] + edges[:-1]) / 2 for edges in cells]
    axes.contour(*centres, smooth.T, levels=levels, colors=colour, linewidths=(0.8, 1.4))


def smooth_counts(counts: np.ndarray) -> np.ndarray:
    """Convolve counts (rows, columns) along both sides with a Gaussian of one and a half cells."""
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        counts = np.apply_along_axis(np.convolve, axis, counts, kernel, mode="same")
    return counts


def image_samples(x: ArrayLike, draws: ArrayLike, image_shape: tuple[int, int]) -> Figure:
    """Draw images of the data beside as many of a model's draws.

    Args:
        x: Data, (n, H * W).
        draws: What the model drew, (n, H * W).
        image_shape: (H, W).
    """
    pictures = [tiles(np.asarray(rows, dtype=float), image_shape) for rows in (x, draws)]
    height = 5.7 * pictures[0].shape[0] / pictures[0].shape[1]
    figure = new_figure(12, height + 0.8, "")
    _show(figure, pictures, ["data", "draws of the model"])
    return figure


def image_completions(
    x: ArrayLike, draws: ArrayLike, image_shape: tuple[int, int], lines: int
) -> Figure:
    """Draw images of the data, what the model was given of each, and how it completed them.

    Args:
        x: Data, (n, H * W).
        draws: What the model drew given the first lines of each, (n, m, H * W).
        image_shape: (H, W).
        lines: How many lines were given.
    """
    x, draws = np.asarray(x, dtype=float), np.asarray(draws, dtype=float)
    n, m, pixels = draws.shape
    given = np.where(np.arange(pixels) < lines * image_shape[1], x, np.nan)
    pictures = [tiles(x, image_shape, 1), tiles(given, image_shape, 1)]
    pictures.append(tiles(draws.reshape(n * m, pixels), image_shape, m))
    figure = new_figure(12, 12 / (m + 2) * n * image_shape[0] / image_shape[1] + 0.8, "")
    _show(figure, pictures, ["data", "given", "the rest as the model drew it"])
    return figure


def _show(figure: Figure, pictures: Sequence[np.ndarray], titles: Sequence[str]) -> None:
    """Show canvases of images side by side, in one scale of grey."""
    widths = [picture.shape[1] for picture in pictures]
    sides = figure.subplots(1, len(pictures), width_ratios=widths)
    for axes, picture, title in zip(sides, pictures, titles, strict=True):
        tidy(axes, title=title)
        axes.set_axis_off()
        image = axes.imshow(picture, cmap="gray_r", vmin=0, vmax=np.nanmax(pictures[0]))
        image.set_cmap(image.get_cmap().with_extremes(bad="#9DB4C0"))  # what parts the tiles
