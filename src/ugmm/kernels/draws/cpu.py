"""Draws of binary features on a CPU in float32: a compiled loop (`pixels`), split over threads."""

import torch
from torch import Tensor

from ugmm.kernels.compiled.threads import run
from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.draws import pixels

__all__ = ["draw_binary"]

_LOG2_E = 1.4426950408889634


def draw_binary(
    x: Tensor,
    given: int,
    start: Tensor,
    zeros: Tensor,
    ones: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> None:
    r"""Draw features that are 0 or 1, each given those before it, in place.

    .. math::
        h_j^{(d)} = \log \Big( e^{s_j} + \sum_{k < d} e^{t_{kj}(x_k)} \Big) \qquad
        p(x_d = 1) = \operatorname{sigmoid}\bigg(
            \sum_j w_{dj} \frac{h_j^{(d)} - \overline{h^{(d)}}}
            {\sqrt{\operatorname{var} h^{(d)} + \epsilon}} + b_d \bigg)

    Args:
        x: (n, D), contiguous: features that are given, then numbers that are uniform in [0, 1),
            each of which becomes its feature.
        given: How many features are given.
        start: s of each row, (n, M).
        zeros: t of a 0, (D, M).
        ones: t of a 1, (D, M).
        weight: w, (D, M).
        bias: b, (D,).
        eps: Added to the variance.
    """
    columns = torch.stack([zeros * _LOG2_E, ones * _LOG2_E, weight], 1)
    constants = torch.cat([bias, bias.new_tensor([eps])])
    n, n_in, n_out = len(x), *weight.shape
    tensors = {"x": x, "start": start.contiguous(), "columns": columns, "constants": constants}
    sizes = {"batch": n, "n_in": n_in, "n_out": n_out, "used": given}
    run(pixels.passes(), -(-n // LANES), **tensors, **sizes)
