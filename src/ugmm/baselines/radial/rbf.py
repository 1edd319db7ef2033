"""The radial basis function network: Gaussian units of the whole input, and a linear map."""

import math

import torch
from torch import Tensor, nn

from ugmm.nn import Classifier
from ugmm.nn.checks import check_positive, check_tensors

__all__ = ["RBFNetwork"]


class RBFNetwork(Classifier):
    r"""Class scores that are linear in K Gaussian bumps about learned centres.

    .. math::
        s_c = b_c + \sum_{k=1}^{K} w_{ck} \exp\Big(-\frac{\|x - \mu_k\|^2}{2 \sigma_k^2}\Big)

    A unit multiplies the likelihoods of all inputs, where a mixture neuron adds them up.

    Reference:
        D. S. Broomhead, D. Lowe, Complex Systems 2, 1988.

    Arguments:
        n_features: Number of inputs.
        n_classes: Number of outputs.
        units: K.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., n_features), output (..., n_classes).

    Raises:
        ValueError: If a size is not positive.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        units: int = 128,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(n_features=n_features, n_classes=n_classes, units=units)
        self.centres = nn.Parameter(torch.empty(units, n_features, device=device, dtype=dtype))
        self.log_scale = nn.Parameter(torch.empty(units, device=device, dtype=dtype))
        self.head = nn.Linear(units, n_classes, device=device, dtype=dtype)
        nn.init.normal_(self.centres)
        # Rows and centres of variance 1 are about sqrt(2 n_features) apart: exp(-1) of a bump.
        nn.init.constant_(self.log_scale, 0.5 * math.log(n_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores: (..., n_features) to (..., n_classes)."""
        exponent = -0.5 * self._squared_distances(x) * torch.exp(-2 * self.log_scale)
        return self.head(exponent.exp())

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:  # noqa: ARG002
        """Put the centres on rows; a unit is exp(-1) at the mean squared distance from its own.

        Args:
            x: (batch, n_features).
            y: Not used.

        Raises:
            ValueError: If `x` is not a batch of such rows, with at least one.
        """
        check_tensors(x=x)
        units, n_features = self.centres.shape
        if x.dim() != 2 or len(x) == 0 or x.shape[1] != n_features:
            raise ValueError(f"expected a batch of {n_features} inputs, got {tuple(x.shape)}")
        order = torch.randperm(len(x), device=x.device)
        self.centres.copy_(x[order.repeat(-(-units // len(x)))[:units]])
        variance = self._squared_distances(x).mean(0) / 2
        self.log_scale.copy_(0.5 * variance.clamp(min=torch.finfo(x.dtype).eps).log())

    def extra_repr(self) -> str:
        """Describe the units in `repr`."""
        units, n_features = self.centres.shape
        return f"n_features={n_features}, units={units}"

    def _squared_distances(self, x: Tensor) -> Tensor:
        """Return the squares' sums over features: (..., n_features) to (..., units)."""
        squares = x.square().sum(-1, keepdim=True) + self.centres.square().sum(-1)
        return (squares - 2 * x @ self.centres.mT).clamp(min=0)  # rounding could make it negative
