"""What regression by mixture neurons is compared with: perceptrons and a linear map."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ugmm.baselines.mlp import make_blocks
from ugmm.nn import Regressor
from ugmm.nn.norms import Norm, check_sizes
from ugmm.nn.regression.heads import LEVELS, PredictiveHeadName, make_predictive_head

__all__ = ["LinearRegressor", "MLPRegressor"]


class MLPRegressor(Regressor):
    """A multi-layer perceptron with ReLU activations, and a head that predicts a distribution.

    Arguments:
        in_features: Number of features N.
        hidden: Widths of the hidden layers.
        head: What is predicted; see `ugmm.nn.regression.make_predictive_head`.
        components: Of the head "mixture".
        levels: Of the head "quantiles".
        dropout: Probability that a hidden unit is dropped.
        norm: What stands before each activation: ``"none"``, ``"layer"`` or ``"batch"``.
        min_std: Floor under predicted standard deviations, in those of the targets.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., N), output (..., P).

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int] = (64, 64),
        head: PredictiveHeadName = "heteroscedastic",
        components: int = 3,
        levels: Sequence[float] = LEVELS,
        dropout: float = 0.0,
        norm: Norm = "none",
        min_std: float = 1e-2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = [in_features, *hidden]
        check_sizes(sizes, "[in_features, *hidden]")
        self.blocks = make_blocks(sizes, dropout, norm, device, dtype)
        self.head = make_predictive_head(
            head, sizes[-1], components, levels, min_std, device, dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions' parameters: (..., N) to (..., P)."""
        return self.head(self.blocks(x))


class LinearRegressor(Regressor):
    """A head that looks at the features themselves: every parameter is a linear map of them.

    Arguments:
        in_features: Number of features N.
        head: What is predicted; see `ugmm.nn.regression.make_predictive_head`.
        components: Of the head "mixture".
        levels: Of the head "quantiles".
        min_std: Floor under predicted standard deviations, in those of the targets.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., N), output (..., P).

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        in_features: int,
        head: PredictiveHeadName = "gaussian",
        components: int = 3,
        levels: Sequence[float] = LEVELS,
        min_std: float = 1e-2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.head = make_predictive_head(
            head, in_features, components, levels, min_std, device, dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions' parameters: (..., N) to (..., P)."""
        return self.head(x)
