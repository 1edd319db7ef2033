"""What a layer of mixture neurons has learned: its densities, and its parameters as images."""

import math
import textwrap
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ugmm.report.style import INK, MUTED, SERIES, label_log, new_figure, tidy

__all__ = [
    "MixtureLayer",
    "draw_parameters",
    "first_layer_images",
    "neuron_densities",
    "read_parameters",
    "tiles",
    "which_neurons",
]

_DRAWN = 8  # components drawn one by one; the others are summed


class MixtureLayer(Protocol):
    """What is read of a layer: the parameters of M neurons with N components each."""

    @property
    def loc(self) -> torch.Tensor:
        """Means, (M, N)."""

    @property
    def scale(self) -> torch.Tensor:
        """Standard deviations, (M, N)."""

    @property
    def logits(self) -> torch.Tensor:
        """Mixing weights before their softmax, (M, N)."""


def neuron_densities(
    layer: MixtureLayer,
    low: float,
    high: float,
    neurons: int = 6,
    input_names: Sequence[str] | None = None,
) -> Figure:
    r"""Draw the mixtures of a layer's first neurons as densities of one variable.

    For neuron j that is :math:`p_j(t) = \sum_k \pi_{jk} N(t; \mu_{jk}, \sigma_{jk})`: all its
    components on one common axis. It is a density of t, and the neuron's score where every input
    equals t; it is not a density over the neuron's N inputs.

    Args:
        layer: Parameters of M neurons, each (M, N).
        low: Where the axis begins, in the units of the layer's inputs.
        high: Where it ends.
        neurons: How many neurons to draw; the first ones, since their order means nothing.
        input_names: The names of the N inputs.
    """
    loc, scale, weights = read_parameters(layer)
    outputs, inputs = loc.shape
    names = list(input_names) if input_names else [str(k) for k in range(inputs)]
    shown = min(neurons, outputs)
    columns = min(3, shown)
    which = which_neurons(shown, outputs)
    title = f"Mixtures of {which}, {inputs} components each, on one common axis"
    formula = r"$p_j(t) = \Sigma_k\, \pi_{jk}\, \mathcal{N}(t;\, \mu_{jk}, \sigma_{jk})$"
    note = f"{formula}: a density of $t$, not of the {inputs} inputs together"
    lines = math.ceil(shown / columns)
    figure = new_figure(max(4.1 * columns, 6.5), 2.9 * lines + 1.6, f"{title}\n{note}")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[shown:]:
        axes.set_visible(False)
    for j, axes in enumerate(grid.flat[:shown]):
        _draw_neuron(axes, j, loc[j], scale[j], weights[j], (low, high), names)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    room = figure.get_figwidth() / (0.085 * max(map(len, labels)) + 0.6)  # inches an entry
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 5, max(int(room), 1)),
        fontsize=9,
        labelcolor=INK,
        frameon=False,
    )
    return figure


def which_neurons(shown: int, outputs: int) -> str:
    """Say which neurons are drawn."""
    if shown < outputs:
        return f"the first {shown} of {outputs} neurons"
    return "the only neuron" if outputs == 1 else f"all {outputs} neurons"


def read_parameters(layer: MixtureLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, scales (never 0, which has no density) and mixing weights, each (M, N), float64."""
    loc, scale, logits = (
        value.detach().double().cpu() for value in (layer.loc, layer.scale, layer.logits)
    )
    return loc.numpy(), scale.clamp_min(1e-9).numpy(), logits.softmax(-1).numpy()


def _draw_neuron(
    axes: Axes,
    j: int,
    loc: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
    limits: tuple[float, float],
    names: Sequence[str],
) -> None:
    t = _grid(loc, scale, *limits)
    heaviest = np.argsort(-weights, kind="stable")[:_DRAWN]
    parts = _normal(t[:, None], loc[heaviest], scale[heaviest]) * weights[heaviest]
    others = np.setdiff1d(np.arange(len(loc)), heaviest)
    rest = np.zeros_like(t)
    for k in others:  # one at a time: a table of all points by all components may take gigabytes
        rest += weights[k] * _normal(t, loc[k], scale[k])
    total = parts.sum(axis=1) + rest
    title = f"neuron {j}: {_mass(loc, scale, weights, *limits):.0%} of its mass in this range"
    if others.size:
        axes.plot(
            t, rest, "--", color=MUTED, linewidth=1.2, label=f"sum of the other {others.size}"
        )
        axes.plot(t, parts, color=SERIES[0], linewidth=0.9)
        axes.plot(
            [], [], color=SERIES[0], linewidth=0.9, label=f"the {_DRAWN} heaviest components"
        )
        title += f"\nheaviest: {_heaviest(weights, heaviest[:3], names)}"
    else:  # few enough for one colour an input, the same in every panel
        for part, k in sorted(zip(parts.T, heaviest, strict=True), key=lambda pair: pair[1]):
            style = "-" if k < 4 else (0, (4, 1.5))
            axes.plot(t, part, linestyle=style, color=SERIES[k], linewidth=1.2, label=names[k])
    (line,) = axes.plot(t, total, color=INK, linewidth=2.2, label="mixture $p_j(t)$")
    tidy(axes, "input value $t$", "density", title)
    axes.set_xlim(*limits)
    # The y axis begins at 0, or is logarithmic where a spike would flatten all the rest.
    mean = float(np.trapezoid(total, t)) / (t[-1] - t[0])
    if total.max() > 30 * mean > 0:
        axes.set_yscale("log")
        axes.set_ylim(mean * 1e-3, total.max() * 2)
        axes.set_ylabel("density (log scale)")
        line.set_linewidth(1)
    else:
        axes.set_ylim(bottom=0)


def _heaviest(weights: np.ndarray, inputs: np.ndarray, names: Sequence[str]) -> str:
    """The names of some inputs and their weights, as many as fit above a panel."""
    items = [f"{names[k]} ({100 * weights[k]:.2g}%)" for k in inputs]
    while len(items) > 1 and len(", ".join(items)) > 38:
        items.pop()
    return textwrap.shorten(", ".join(items), 40, placeholder=" …")


def _grid(loc: np.ndarray, scale: np.ndarray, low: float, high: float) -> np.ndarray:
    """Points of [low, high]: evenly spaced, and more where a narrow component would be missed."""
    even = np.linspace(low, high, 1001)
    narrow = scale < 4 * (even[1] - even[0])
    around = loc[narrow, None] + scale[narrow, None] * np.linspace(-5, 5, 41)
    return np.union1d(even, around[(around >= low) & (around <= high)])


def _normal(t: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((t - loc) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))


def _mass(
    loc: np.ndarray, scale: np.ndarray, weights: np.ndarray, low: float, high: float
) -> float:
    """The share of a mixture that lies in [low, high]."""
    below = [torch.special.ndtr(torch.from_numpy((x - loc) / scale)) for x in (low, high)]
    return float((below[1] - below[0]).numpy() @ weights)


def first_layer_images(
    layer: MixtureLayer, image_shape: tuple[int, int], neurons: int = 24
) -> Figure:
    """Draw the means and the mixing weights of a layer that sees an image, as images.

    Args:
        layer: Parameters of M neurons, each (M, N). The first H * W inputs are the pixels, row by
            row; any further inputs (a label's, say) are left out.
        image_shape: (H, W).
        neurons: How many neurons to draw; the first ones, since their order means nothing.

    Raises:
        ValueError: The layer has fewer inputs than the image has pixels.
    """
    loc, _, weights = read_parameters(layer)
    (outputs, inputs), pixels = loc.shape, math.prod(image_shape)
    if inputs < pixels:
        raise ValueError(f"a layer of {inputs} inputs does not see {pixels} pixels {image_shape}")
    shown = min(neurons, outputs)
    left_out = (
        f"; {inputs - pixels} inputs that are not pixels left out" if inputs > pixels else ""
    )
    means = tiles(loc[:shown, :pixels], image_shape)
    shares = tiles(inputs * weights[:shown, :pixels], image_shape)
    title = f"First layer: {which_neurons(shown, outputs)}{left_out}"
    return draw_parameters(means, shares, title)


def draw_parameters(means: np.ndarray, shares: np.ndarray, title: str) -> Figure:
    """Draw tiles of means beside those of mixing weights, relative to uniform ones.

    Args:
        means: A canvas of `tiles`.
        shares: Another of the same shape, of weights times the number of a neuron's components.
        title: Of the figure.
    """
    height = 5.7 * means.shape[0] / means.shape[1]  # inches, where each half is 5.7 wide
    figure = new_figure(12, height + 1.6, title)
    left, right = figure.subplots(1, 2)

    most = _percentile(np.abs(means), 99.5)
    image = left.imshow(means, cmap="RdBu_r", norm=Normalize(-most, most))
    label = r"mean $\mu$ (input units; colours end at the 99.5th percentile of $|\mu|$)"
    _finish_image(left, image, "means", label)

    high = max(_percentile(shares, 99.5), 2)
    low = max(min(_percentile(shares, 1), 0.5), 1e-3 * high)
    image = right.imshow(shares, cmap="cividis", norm=LogNorm(low, high))
    label = r"mixing weight $N\pi$ (1: uniform; log scale, extremes clipped)"
    _finish_image(right, image, "mixing weights, relative to uniform", label)
    label_log(image.colorbar.ax.xaxis, low, high)
    return figure


def tiles(rows: np.ndarray, shape: tuple[int, int], columns: int | None = None) -> np.ndarray:
    """Images (n, H * W) side by side on one canvas, NaN between them.

    Where it is not said in how many columns, the canvas is half as wide again as high.
    """
    height, width = shape
    columns = columns or math.ceil(math.sqrt(1.5 * len(rows)))
    lines = math.ceil(len(rows) / columns)
    gap = max(1, width // 14)
    canvas = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for index, row in enumerate(rows):
        top, left = (height + gap) * (index // columns), (width + gap) * (index % columns)
        canvas[top : top + height, left : left + width] = row.reshape(height, width)
    return canvas


def _percentile(values: np.ndarray, q: float) -> float:
    return float(np.nanpercentile(values, q))


def _finish_image(axes: Axes, image: AxesImage, title: str, label: str) -> None:
    tidy(axes, title=title)
    axes.set_axis_off()
    image.set_cmap(image.get_cmap().with_extremes(bad="#C4C4C4"))  # what parts the tiles
    bar = axes.figure.colorbar(
        image, ax=axes, location="bottom", shrink=0.9, aspect=40, pad=0.03, extend="both"
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, color=MUTED, labelcolor=INK)
    bar.set_label(label, fontsize=9, color=INK)
