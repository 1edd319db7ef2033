"""What stands between the last features of a network and the distribution that it predicts."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.kernels.problem import widened
from ugmm.nn.checks import check_positive
from ugmm.nn.regression.mixture import MixturePredictive
from ugmm.nn.regression.predictive import GaussianPredictive, Predictive
from ugmm.nn.regression.quantiles import QuantilePredictive, check_levels

__all__ = [
    "LEVELS",
    "GaussianHead",
    "MixtureDensityHead",
    "PredictiveHead",
    "PredictiveHeadName",
    "QuantileHead",
    "make_predictive_head",
]

PredictiveHeadName = Literal["gaussian", "heteroscedastic", "mixture", "quantiles"]

LEVELS = tuple(i / 20 for i in range(1, 20))  # of quantiles: .05, .10, ..., .95
_ONE = math.log(math.e - 1)  # where softplus is 1


class PredictiveHead(nn.Module, ABC):
    """A linear map from features to the parameters of a distribution, in model units.

    Targets are standardised, and predictions begin about as wide as that.

    Arguments:
        in_features: N.
        n_locations: How many of the map's outputs, the first ones, say where the target lies.
        n_others: How many more there are.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Attributes:
        has_density: Whether its distributions have a `log_prob`.

    Shapes:
        input (..., N), output (..., P).
    """

    has_density = True

    def __init__(
        self,
        in_features: int,
        n_locations: int,
        n_others: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_features=in_features, n_locations=n_locations)
        self.n_locations = n_locations
        n_outputs = n_locations + n_others
        self.linear = nn.Linear(in_features, n_outputs, device=device, dtype=dtype)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the parameters afresh; several locations begin as a normal's quantiles."""
        self.linear.reset_parameters()
        if self.n_locations > 1:
            self.linear.bias[: self.n_locations] = self._start().to(self.linear.bias)

    def forward(self, features: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return the parameters.

        Args:
            features: (..., N).
            shift: By how much the whole distribution is moved, (..., 1).
        """
        raw = self.linear(features)
        if shift is None:
            return raw
        locations, others = raw.split([self.n_locations, raw.shape[-1] - self.n_locations], -1)
        return torch.cat([locations + shift, others], -1)

    @abstractmethod
    def distribution(self, parameters: Tensor) -> Predictive:
        """Return the distributions that parameters (..., P) stand for.

        Half precision is widened: a density or a quantile needs more digits.
        """

    def _start(self) -> Tensor:
        """Return where the locations begin, (n_locations,)."""
        steps = torch.arange(self.n_locations, dtype=torch.float64, device="cpu")
        return torch.special.ndtri((steps + 0.5) / self.n_locations)


class _ScaledHead(PredictiveHead):
    """A head that predicts standard deviations, too."""

    def __init__(
        self,
        in_features: int,
        n_locations: int,
        n_others: int,
        min_std: float,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        if not 0 < min_std < math.inf:
            raise ValueError(f"min_std must be positive and finite, got {min_std}")
        super().__init__(in_features, n_locations, n_others, device, dtype)
        self.min_std = min_std

    def scale(self, raw: Tensor) -> Tensor:
        """Return standard deviations; those of 0 are 1, and the floor."""
        return self.min_std + F.softplus(raw + _ONE)


class GaussianHead(_ScaledHead):
    """A normal distribution of predicted mean.

    Arguments:
        in_features: N.
        has_own_scale: Whether each row's standard deviation is predicted, too; or one for all is
            learned.
        min_std: Floor under the standard deviations.
        device: Where the parameters live.
        dtype: Their floating-point type.
    """

    raw_scale: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        has_own_scale: bool,
        min_std: float = 1e-2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, 1, int(has_own_scale), min_std, device, dtype)
        learned = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
        self.register_parameter("raw_scale", None if has_own_scale else learned)

    def reset_parameters(self) -> None:
        """Draw the parameters afresh."""
        super().reset_parameters()
        if self.raw_scale is not None:
            nn.init.zeros_(self.raw_scale)

    def forward(self, features: Tensor, shift: Tensor | None = None) -> Tensor:
        """See `PredictiveHead.forward`."""
        found = super().forward(features, shift)
        if self.raw_scale is None:
            return found
        return torch.cat([found, self.raw_scale.to(found.dtype).expand_as(found)], -1)

    def distribution(self, parameters: Tensor) -> GaussianPredictive:
        """See `PredictiveHead.distribution`."""
        mean, raw_scale = widened(parameters).unbind(-1)
        return GaussianPredictive(mean, self.scale(raw_scale))


class MixtureDensityHead(_ScaledHead):
    """A mixture of normal distributions, all of whose parameters are predicted.

    C. Bishop, *Mixture density networks*, Aston University, 1994.

    Arguments:
        in_features: N.
        components: K of the mixture.
        min_std: Floor under the components' standard deviations.
        device: Where the parameters live.
        dtype: Their floating-point type.
    """

    def __init__(
        self,
        in_features: int,
        components: int = 3,
        min_std: float = 1e-2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive(components=components)
        super().__init__(in_features, components, 2 * components, min_std, device, dtype)
        self.reset_parameters()

    def distribution(self, parameters: Tensor) -> MixturePredictive:
        """See `PredictiveHead.distribution`."""
        mean, raw_scale, logits = widened(parameters).chunk(3, -1)
        return MixturePredictive(logits.log_softmax(-1), mean, self.scale(raw_scale))


class QuantileHead(PredictiveHead):
    """Quantiles, each predicted, and put in order; see `QuantilePredictive`.

    Arguments:
        in_features: N.
        levels: Which quantiles.
        device: Where the parameters live.
        dtype: Their floating-point type.
    """

    has_density = False

    def __init__(
        self,
        in_features: int,
        levels: Sequence[float] = LEVELS,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_levels(levels)
        self.levels = tuple(levels)
        super().__init__(in_features, len(levels), 0, device, dtype)
        self.reset_parameters()

    def distribution(self, parameters: Tensor) -> QuantilePredictive:
        """See `PredictiveHead.distribution`."""
        return QuantilePredictive(self.levels, widened(parameters))

    def _start(self) -> Tensor:
        return torch.special.ndtri(torch.tensor(self.levels, dtype=torch.float64, device="cpu"))


def make_predictive_head(
    head: PredictiveHeadName,
    in_features: int,
    components: int = 3,
    levels: Sequence[float] = LEVELS,
    min_std: float = 1e-2,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> PredictiveHead:
    """Return the head of this name.

    Args:
        head: ``"gaussian"``, a normal distribution whose variance is learned, the same for all
            rows; ``"heteroscedastic"``, whose variance is predicted; ``"mixture"``, of normal
            distributions; or ``"quantiles"``.
        in_features: N.
        components: Of the mixture.
        levels: Of the quantiles.
        min_std: Floor under standard deviations, in those of the targets.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Raises:
        ValueError: If there is no such head, or an argument is out of its range.
    """
    if head in ("gaussian", "heteroscedastic"):
        return GaussianHead(in_features, head != "gaussian", min_std, device, dtype)
    if head == "mixture":
        return MixtureDensityHead(in_features, components, min_std, device, dtype)
    if head == "quantiles":
        return QuantileHead(in_features, levels, device, dtype)
    raise ValueError(
        f"head must be 'gaussian', 'heteroscedastic', 'mixture' or 'quantiles', got {head!r}"
    )
