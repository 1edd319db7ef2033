"""FastKAN: a Kolmogorov-Arnold network of Gaussian bumps on every connection."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.nn import Classifier
from ugmm.nn.norms import check_sizes

__all__ = ["FastKAN", "FastKANLayer"]

_LOWEST, _HIGHEST = -2.0, 2.0  # of the bumps' places, among normalised inputs
_SPREAD = 0.1  # of their weights at the start


class FastKANLayer(nn.Module):
    r"""A sum over the inputs of functions of one input each, learned as weights of bumps.

    .. math::
        y_j = \sum_{i=1}^{N} \sum_{g=1}^{G} w_{jig}
            \exp\Big(-\Big(\frac{\hat x_i - t_g}{h}\Big)^2\Big)
            + \sum_{i=1}^{N} v_{ji} \, \mathrm{SiLU}(x_i) + b_j

    with :math:`\hat x` the inputs after LayerNorm, :math:`t_g` from -2 to 2 and :math:`h` the
    distance between two of them.

    Reference:
        Z. Li, arXiv:2405.06721, and its code.

    Arguments:
        in_features: N.
        out_features: Number of outputs.
        bumps: G.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., N), output (..., out_features).

    Raises:
        ValueError: If there are fewer than two bumps.
    """

    places: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bumps: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if bumps < 2:
            raise ValueError(f"bumps must be two or more, got {bumps}")
        places = torch.linspace(_LOWEST, _HIGHEST, bumps, device=device, dtype=dtype)
        self.register_buffer("places", places, persistent=False)
        self.norm = nn.LayerNorm(in_features, device=device, dtype=dtype)
        self.of_bumps = nn.Linear(
            in_features * bumps, out_features, bias=False, device=device, dtype=dtype
        )
        self.base = nn.Linear(in_features, out_features, device=device, dtype=dtype)
        nn.init.trunc_normal_(self.of_bumps.weight, std=_SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs: (..., N) to (..., out_features)."""
        step = (_HIGHEST - _LOWEST) / (len(self.places) - 1)
        bumps = torch.exp(-(((self.norm(x).unsqueeze(-1) - self.places) / step) ** 2))
        return self.of_bumps(bumps.flatten(-2)) + self.base(F.silu(x))


class FastKAN(Classifier):
    """Layers of functions of single inputs; see `FastKANLayer`.

    Arguments:
        sizes: Widths from input to output, such as ``[784, 64, 10]``.
        bumps: Of each connection, two or more. A connection has as many parameters, and one more.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., sizes[0]), output (..., sizes[-1]).

    Raises:
        ValueError: If a width is not positive, or there are fewer than two bumps.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        bumps: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(sizes)
        self.layers = nn.Sequential(
            *(FastKANLayer(n_in, n_out, bumps, device, dtype) for n_in, n_out in pairwise(sizes))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs: (..., sizes[0]) to (..., sizes[-1])."""
        return self.layers(x)
