"""What a convolution of mixture neurons has learned: its windows, channel by channel."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.figure import Figure

from ugmm.report.run.neurons import (
    MixtureLayer,
    draw_parameters,
    read_parameters,
    tiles,
    which_neurons,
)

__all__ = ["Convolution", "filter_images", "input_names"]

_NEURONS, _ALONE, _CHANNELS = 12, 24, 12  # drawn at most; the second where there is one channel


class Convolution(MixtureLayer, Protocol):
    """What is read of a layer whose components are channels times offsets."""

    @property
    def kernel_size(self) -> Sequence[int]:
        """Height and width of a window; its width alone if it has one dimension."""


def filter_images(layer: Convolution, name: str) -> Figure:
    """Draw the means and the mixing weights of a convolution as images.

    A line of windows is a neuron, a column an input channel; where there is one channel, each
    window is a neuron.

    Args:
        layer: Parameters of M neurons, (M, C * kh * kw).
        name: What the layer is called in the title.
    """
    loc, _, weights = read_parameters(layer)
    height, width = (1, *layer.kernel_size)[-2:]
    outputs, inputs = loc.shape
    channels = inputs // (height * width)
    shown, columns = min(_ALONE if channels == 1 else _NEURONS, outputs), min(_CHANNELS, channels)
    title = f"{name}: {which_neurons(shown, outputs)}, windows of {height} x {width}"
    if channels > 1:
        which = f"all {channels}" if columns == channels else f"the first {columns} of {channels}"
        title += f"\na line for each neuron, a column for each channel that it sees ({which})"
    means, shares = (
        tiles(
            values[:shown].reshape(shown, channels, -1)[:, :columns].reshape(-1, height * width),
            (height, width),
            None if channels == 1 else columns,
        )
        for values in (loc, inputs * weights)
    )
    return draw_parameters(means, shares, title)


def input_names(layer: Convolution) -> list[str]:
    """Name what the components of a convolution look at, by offsets from a window's corner."""
    offsets = [f"+{at}" for at in range(layer.kernel_size[-1])]
    if len(layer.kernel_size) == 2:
        offsets = [
            f"(+{down}, {right})" for down in range(layer.kernel_size[0]) for right in offsets
        ]
    channels = layer.loc.shape[1] // len(offsets)
    return [
        offset if channels == 1 else f"{channel}: {offset}"
        for channel in range(channels)
        for offset in offsets
    ]
