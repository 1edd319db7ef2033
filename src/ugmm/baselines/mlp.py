"""The multi-layer perceptron: the baseline with the same widths."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ugmm.nn import Classifier
from ugmm.nn.dropout import Dropout
from ugmm.nn.norms import Norm, check_sizes, make_norm

__all__ = ["MLP", "make_blocks"]


class MLP(Classifier):
    """A multi-layer perceptron with ReLU activations.

    Arguments:
        sizes: Widths from input to output, such as ``[784, 128, 64, 10]``.
        dropout: Probability that a hidden unit is dropped.
        norm: What stands before each activation: ``"none"``, ``"layer"`` or ``"batch"``.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., sizes[0]), output (..., sizes[-1]).

    Raises:
        ValueError: If a width is not positive, or there is no such norm.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        dropout: float = 0.0,
        norm: Norm = "none",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(sizes)
        self.blocks = make_blocks(sizes[:-1], dropout, norm, device, dtype)
        self.blocks.append(nn.Linear(sizes[-2], sizes[-1], device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs: (..., sizes[0]) to (..., sizes[-1])."""
        return self.blocks(x)


def make_blocks(
    sizes: Sequence[int],
    dropout: float,
    norm: Norm,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Sequential:
    """Return hidden layers of these widths: each a linear map, its norm, ReLU and dropout."""
    blocks: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        blocks += [nn.Linear(n_in, n_out, device=device, dtype=dtype)]
        blocks += [make_norm(norm, n_out, device, dtype), nn.ReLU(), Dropout(dropout)]
    return nn.Sequential(*blocks)
