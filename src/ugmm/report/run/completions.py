"""Images of which a part was seen, completed in several ways side by side."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ugmm.report.run.neurons import tiles
from ugmm.report.style import FIRST, INK, MUTED, new_figure, tidy

__all__ = ["WARNING", "completed_images"]

WARNING = (
    "The mode is a bad picture: the most probable completion leaves out what is likely but not "
    "certain.\nJudge the model by its samples."
)
_PAPER, _UNSEEN = "#F4F4F4", "#CFDDE6"
_TILE, _MARGIN = 0.72, 1.1  # inches: an image's width; titles and caption


def completed_images(
    x: ArrayLike,
    known: ArrayLike,
    samples: ArrayLike,
    image_shape: tuple[int, int],
    mode: ArrayLike | None = None,
    shown: int = 4,
) -> Figure:
    """Draw binary images, a line each: whole, what was seen, samples, their majority, the mode.

    What was seen is black and what was completed blue. A caption warns of the mode.

    Args:
        x: The images, (n, H * W), of 0 and 1; NaN where what was not seen is not known at all.
        known: Which pixels were seen, (n, H * W), bool.
        samples: m completions of each, (n, m, H * W).
        image_shape: (H, W).
        mode: The most probable completion that was found of each, (n, H * W), or None.
        shown: How many samples to show; the majority is of all m.
    """
    x, known = np.asarray(x, dtype=float), np.asarray(known, dtype=bool)
    samples = np.asarray(samples, dtype=float)
    shown, most = min(shown, samples.shape[1]), samples.shape[1]
    groups = {
        "seen": np.where(known, x, np.nan)[:, None],
        f"{shown} samples": samples[:, :shown],
        f"majority of {most}": (samples.mean(1) > 0.5)[:, None],
    }
    if not np.isnan(x).any():
        groups = {"original": x[:, None], **groups}
    if mode is not None:
        groups["mode"] = np.asarray(mode, dtype=float)[:, None]
    widths = [images.shape[1] for images in groups.values()]
    height, width = image_shape
    across = _TILE * sum(widths) + 0.25 * len(groups)
    figure = new_figure(across, _TILE * height / width * len(x) + _MARGIN, "")
    canvases = {title: _canvas(images, known, image_shape) for title, images in groups.items()}
    ratios = [canvas.shape[1] for canvas in canvases.values()]  # so that all lines are level
    sides = figure.subplots(1, len(groups), width_ratios=ratios, squeeze=False)[0]
    for axes, (title, canvas) in zip(sides, canvases.items(), strict=True):
        tidy(axes, title=title)
        axes.set_axis_off()
        axes.imshow(canvas)
    if mode is not None:
        figure.supxlabel(WARNING, fontsize=9, color=MUTED)
    return figure


def _canvas(images: np.ndarray, known: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Lay out images (n, k, H * W) in k columns, coloured: (lines, columns, 3)."""
    n, k, pixels = images.shape
    seen = np.repeat(known, k, axis=0)[..., None]
    ink = np.where(seen, to_rgb(INK), to_rgb(FIRST))
    flat, paper = images.reshape(n * k, pixels, 1), np.array(to_rgb(_PAPER))
    painted = np.where(np.isnan(flat), to_rgb(_UNSEEN), flat * ink + (1 - flat) * paper)
    parts = [tiles(painted[..., colour], image_shape, k) for colour in range(3)]
    return np.nan_to_num(np.stack(parts, -1), nan=1.0)  # white between the images
