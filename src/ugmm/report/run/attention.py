"""Where a Transformer looks in images."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from ugmm.report.style import INK, MUTED, SECOND, new_figure, tidy

__all__ = ["attention_maps"]

_TILE = 1.25  # inches, an image's height
_SHADES = "cividis"


def attention_maps(
    images: ArrayLike, weights: ArrayLike, names: Sequence[str], score: str
) -> Figure:
    """Draw images, and how much each patch is looked at by all tokens and by one of them.

    Args:
        images: (n, H, W).
        weights: Of the last layer, (n, heads, S, S): what each token, a patch of the image line by
            line, gives each.
        names: What each image is.
        score: How the weights come about, for the title.
    """
    images, weights = np.asarray(images, dtype=float), np.asarray(weights, dtype=float)
    n, heads, tokens, _ = weights.shape
    side = math.isqrt(images.shape[1] * images.shape[2] // tokens)
    grid = (images.shape[1] // side, images.shape[2] // side)
    at = _inked(images, side)
    panels = np.stack([weights.mean(2), weights[np.arange(n), :, at]], 1) * tokens
    width = _TILE * images.shape[2] / images.shape[1]
    title = f"Attention of the last layer ({score}), relative to equal weights of {tokens} patches"
    columns = 1 + 2 * heads
    figure = new_figure(max(width * columns + 1, 7), _TILE * n + 1.9, title)
    axes = figure.subplots(n, columns, squeeze=False)
    shades = Normalize(0, max(2.0, float(np.percentile(panels, 99))))
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        _show_image(axes[row, 0], image, name)
        for k, head in enumerate(panels[row].reshape(2 * heads, *grid)):
            panel = axes[row, 1 + k]
            shown = _show_map(panel, image, head, shades)
            if k >= heads:
                _mark(panel, at[row], grid[1], side)
    for k in range(2 * heads):
        who = "all tokens" if k < heads else "one token"
        axes[0, 1 + k].set_title(f"{who},\nhead {k % heads + 1}", fontsize=9, color=INK)
    bar = figure.colorbar(shown, ax=axes, location="bottom", shrink=0.6, aspect=40, extend="max")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, color=MUTED, labelcolor=INK)
    text = "weight x number of patches (1: uniform); outlined in orange: the token that looks"
    bar.set_label(text, fontsize=9, color=INK)
    return figure


def _inked(images: np.ndarray, side: int) -> np.ndarray:
    """The patch of each image with most in it, (n,)."""
    n, height, width = images.shape
    patches = images.reshape(n, height // side, side, width // side, side).sum((2, 4))
    return patches.reshape(n, -1).argmax(1)


def _show_image(axes: Axes, image: np.ndarray, name: str) -> None:
    tidy(axes)
    axes.imshow(image, cmap="gray_r")
    axes.set_ylabel(name, fontsize=9, color=INK, rotation=0, ha="right", va="center")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _show_map(axes: Axes, image: np.ndarray, weights: np.ndarray, shades: Normalize) -> AxesImage:
    """Show weights of patches under the outline of what is in the image."""
    axes.set_axis_off()
    height, width = image.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    shown = axes.imshow(weights, cmap=_SHADES, norm=shades, extent=extent)
    if image.min() < image.max():
        axes.contour(image, levels=[(image.min() + image.max()) / 2], colors="white", linewidths=1)
    return shown


def _mark(axes: Axes, token: int, columns: int, side: int) -> None:
    corner = (side * (token % columns) - 0.5, side * (token // columns) - 0.5)
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=SECOND, linewidth=1.8))
