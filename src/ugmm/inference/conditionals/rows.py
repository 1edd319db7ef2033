"""What the conditional of one row of evidence can tell, whichever way it is found."""

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["RowConditional"]


class RowConditional(Protocol):
    """The conditional of m features, given one row of evidence; all numbers are float64.

    Attributes:
        mean: (m,).
        mean_error: Its standard error, (m,).
        variance: (m,).
        variance_error: Its standard error, (m,).
        effective: The effective share of the draws behind the answers.
        is_exact: Whether the answers are exact, up to rounding and quadrature.
    """

    mean: Tensor
    mean_error: Tensor
    variance: Tensor
    variance_error: Tensor
    effective: float
    is_exact: bool

    def log_prob(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p of values (v, m), (v,), and its standard errors, (v,)."""

    def quantile(self, mass: Tensor) -> Tensor:
        """Return each feature's value that has so much mass (k,) below it, (k, m)."""

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        """Draw (k, m)."""
