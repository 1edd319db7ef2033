r"""What prefixes' neurons remember of an image: some columns, and of these the last lines.

A score that sums up all components of a prefix weighs the first line of an image as it does the
last one, and what the nearest pixels say is drowned. With a memory of columns

.. math::
    h_j^{(d)} = \log \frac{e^{b_j} e^{a_{yj}} + \sum_{k < d} w_{jk} \, \mathcal{N}(x_k)}
        {e^{b_j} + \sum_{k < d} w_{jk}}

the weights :math:`w = e^{\text{logits}}` begin so that neuron j looks at one column, and each line
outweighs those above it: at pixel d it scores the last pixel of that column, whichever line that
is in, and all neurons together the whole border between what is known and what is not. The
denominator makes the weights of a prefix sum to one, as those of the known inputs of a layer do:
without it scores would grow from line to line. All of this is where training begins, not where it
has to stay.

From one feature to the next, :math:`e^{h'} = (1 - r) \, e^h + r \, \mathcal{N}(x_d)` with
:math:`r = w_d / (e^b + \sum_{k \le d} w_k)`: the neuron forgets at a rate of its own.
"""

import torch
from torch import Tensor

from ugmm.nn.mixture import UGMM

__all__ = ["log_totals", "remember_columns"]

_LINE, _COLUMN = 3.0, 3.0  # nats that a line weighs less than the next one, a column than its side
_SCALE = 0.3  # of a component, a third of the range from black to white


def log_totals(logits: Tensor, start_logits: Tensor) -> Tensor:
    """Return the logarithms of the weights before each feature, and of all: (M, D) to (M, D + 1).

    Args:
        logits: Of the components, (M, D).
        start_logits: b, (M,).
    """
    return torch.cat([start_logits.unsqueeze(1), logits], 1).logcumsumexp(1)


@torch.no_grad()
def remember_columns(layer: UGMM, image_shape: tuple[int, int]) -> Tensor:
    """Begin with a column for each neuron, and for each column means from black to white.

    Args:
        layer: Over the pixels of images, line by line.
        image_shape: Height and width.

    Returns:
        b, (M,): as much as the least of a neuron's weights.

    Raises:
        ValueError: If there are not as many neurons for each column.
    """
    height, width = image_shape
    neurons = layer.out_features
    if neurons % width:
        raise ValueError(
            f"memory='columns' needs as many neurons for each of the image's {width} columns: "
            f"hidden begins with {neurons}, which is no multiple of {width}"
        )
    levels = torch.linspace(0, 1, neurons // width) if neurons > width else torch.tensor([0.5])
    pixels = torch.arange(height * width)
    away = (pixels % width - torch.arange(neurons).unsqueeze(1) % width).abs()
    layer.logits.copy_(_LINE * pixels.div(width, rounding_mode="floor") - _COLUMN * away)
    layer.loc.normal_(0, 0.02).add_(levels.repeat_interleave(width).unsqueeze(1))
    layer._set_scale(torch.full_like(layer.loc, _SCALE))
    return layer.logits.min(1).values
