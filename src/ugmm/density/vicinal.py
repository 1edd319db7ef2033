"""Vicinal noise: what keeps a flexible density from collapsing onto its training rows."""

import torch
from torch import Tensor, nn

from ugmm.density.gaussian import covariance
from ugmm.ranks import draw_rows

__all__ = ["VicinalNoise", "silverman_width"]


def silverman_width(n: float, n_features: int) -> float:
    r"""Return Silverman's rule of thumb for a Gaussian kernel's width, in standard deviations.

    .. math::
        h = \left( \frac{4}{D + 2} \right)^{1/(D + 4)} n^{-1/(D + 4)}

    B. W. Silverman, *Density Estimation for Statistics and Data Analysis* (1986), equation 4.14.

    Args:
        n: Number of rows (of a class, where classes are modelled).
        n_features: D.
    """
    return float((4 / (n_features + 2) / n) ** (1 / (n_features + 4)))


class VicinalNoise(nn.Module):
    r"""Noise from :math:`\mathcal N(0, h^2 S_w)`, with :math:`S_w` the covariance within classes.

    A model trained with fresh noise at each step is fitted to a kernel density estimate of the
    rows instead of the rows themselves (O. Chapelle et al., *Vicinal risk minimization*,
    NeurIPS 2000).

    Arguments:
        n_features: D.
        width: h; None takes Silverman's rule for the mean number of rows in a class.
    """

    tril: Tensor

    def __init__(self, n_features: int, width: float | None = None) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("tril", torch.zeros(n_features, n_features))

    def fit(self, x: Tensor, y: Tensor) -> None:
        """Fit the noise's shape, and its width if none was given, to rows (n, D), labels (n,)."""
        classes, own = y.unique(return_inverse=True)
        means = torch.stack([x[y == c].mean(0) for c in classes])
        within = covariance(x - means[own])
        width = self.width
        if width is None:
            width = silverman_width(len(x) / len(classes), x.shape[1])
        self.tril.copy_(width * torch.linalg.cholesky(within))

    def forward(self, x: Tensor) -> Tensor:
        """Add fresh noise to (batch, D)."""
        noise = draw_rows(lambda size: torch.randn(size, dtype=x.dtype, device=x.device), x.shape)
        return x + noise @ self.tril.T.to(x.dtype)

    def extra_repr(self) -> str:
        """Describe the noise in `repr`."""
        return f"n_features={len(self.tril)}, width={self.width}"
