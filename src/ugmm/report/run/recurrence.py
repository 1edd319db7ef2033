"""What recurrent mixture neurons do while they read an image, line by line."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ugmm.nn import UGMMCell, UGMMRecurrentNetwork
from ugmm.report.style import INK, MUTED, new_figure, tidy

__all__ = ["draw_reading", "name_inputs", "trace_reading"]

_LEGIBLE = 12.0  # inches of a whole figure's width


@torch.no_grad()
def trace_reading(network: UGMMRecurrentNetwork, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the first layer reads, holds and lets go of, line by line.

    Args:
        network: Which reads from above.
        x: Images, (n, features).

    Returns:
        lines, states after each line and gates at it: (n, H, line), (n, H, states) each.
    """
    cell = cast("UGMMCell", network.rnn.cells[0])
    lines = network.lines(x.to(cell.mixture.loc.dtype))
    n_lines, n, _ = lines.shape
    start = lines.new_zeros(n, network.rnn.hidden_size)
    states, _ = cell.scan(lines.flatten(0, 1), [n] * n_lines, start)
    states = states.unflatten(0, (n_lines, n))
    before = torch.cat([start.unsqueeze(0), states[:-1]])
    _, gates = cell.candidate_and_gate(lines, before)
    return lines.transpose(0, 1), states.transpose(0, 1), gates.transpose(0, 1)


def name_inputs(network: UGMMRecurrentNetwork) -> list[str]:
    """Name the inputs of the first layer's neurons: a line's pixels, then the states."""
    pixels = [f"pixel {k}" for k in range(network.line_size)]
    return [*pixels, *(f"state {k}" for k in range(network.rnn.hidden_size))]


def draw_reading(
    lines: np.ndarray,
    states: np.ndarray,
    gates: np.ndarray,
    names: Sequence[str],
    neurons: int = 32,
) -> Figure:
    """Draw images, and beside each of their lines the states and the gates of some neurons.

    Args:
        lines: Of each image, (n, H, line).
        states: After each line, in [-1, 1], (n, H, states).
        gates: At each line, in [0, 1], (n, H, states).
        names: Of the images' classes.
        neurons: How many to draw; the first ones, since their order means nothing.
    """
    count = states.shape[-1]
    shown = min(neurons, count)
    which = f"the first {shown} of {count}" if shown < count else f"all {count}"
    title = (
        f"The first layer reads images line by line: {which} recurrent neurons\n"
        r"$h \leftarrow n + z\,(h - n)$: a gate $z$ of 1 keeps the state $h$, of 0 replaces it by "
        r"the candidate $n$"
    )
    figure = new_figure(_LEGIBLE, 2.5 * len(lines) + 1.9, title)
    grid = figure.subplots(len(lines), 3, squeeze=False, width_ratios=(1, 1.4, 1.4))
    bottom, top = float(lines.min()), float(lines.max())
    kinds = (
        (lines, "gray", Normalize(bottom, top), "what is read at each line", "pixel", "input"),
        (states[..., :shown], "RdBu_r", Normalize(-1, 1), "states", "neuron", "state $h$"),
        (gates[..., :shown], "cividis", Normalize(0, 1), "gates", "neuron", "gate $z$"),
    )
    for column, (values, colours, norm, head, across, label) in enumerate(kinds):
        for i, (axes, value) in enumerate(zip(grid[:, column], values, strict=True)):
            image = axes.imshow(value, cmap=colours, norm=norm, aspect="auto")
            last = i == len(lines) - 1
            side = f"class {names[i]}\nline" if column == 0 else ""
            _finish(axes, across if last else "", side, head if i == 0 else "")
        _add_bar(grid[:, column], image, label)
    return figure


def _finish(axes: Axes, across: str, down: str, title: str) -> None:
    tidy(axes, across, down, title)
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))


def _add_bar(column: np.ndarray, image: AxesImage, label: str) -> None:
    bar = column[0].figure.colorbar(
        image, ax=list(column), location="bottom", shrink=0.8, aspect=30, pad=0.01
    )
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_locator(MaxNLocator(4))
    bar.ax.tick_params(labelsize=9, color=MUTED, labelcolor=INK)
    bar.set_label(label, fontsize=9, color=INK)
