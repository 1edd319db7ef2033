"""Regression by mixture neurons: one wide layer beside a linear map."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.mixture import UGMM
from ugmm.nn.norms import check_sizes
from ugmm.nn.regression.heads import LEVELS, PredictiveHeadName, make_predictive_head
from ugmm.nn.regression.regressor import Regressor

__all__ = ["RegressionNetwork"]


class RegressionNetwork(Regressor):
    r"""Mixture neurons between the features and a linear head, and a linear map around them.

    With one layer of M neurons of log-scores s,

    .. math::
        \theta(x) = \frac{1}{\sqrt M} W \operatorname{LayerNorm}(s(x)) + b + (v^\top x) \, e

    are the parameters of the predicted distribution, and e says which of them are locations: the
    linear map shifts the distribution, and neurons need not learn a trend that a plane
    describes. From few rows, one wide layer generalises better than several. The root of M keeps
    Adam's steps in proportion to it, and not to M: one learning rate does for 128 neurons and for
    512, which diverge without it.

    Arguments:
        in_features: Number of features N.
        hidden: Widths of the layers of neurons; LayerNorm stands after each.
        head: What is predicted; see `make_predictive_head`.
        components: Of the head "mixture".
        levels: Of the head "quantiles".
        dropout: Probability that a component of the first layer is dropped; see `ugmm.nn.UGMM`.
        input_dropout: Probability that a feature is dropped, row by row, for the neurons.
        skip: Whether there is the linear map.
        min_scale: Floor under the neurons' scales.
        min_std: Floor under predicted standard deviations, in those of the targets.
        init: ``"unit"`` has scales 1, equal weights and means N(0, 0.5^2) in the first layer,
            N(0, 1) after it; ``"data"`` is completed by :meth:`init_from`.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        missing: Whether NaN in a feature says that it is not known. Neurons leave it out then,
            and to the linear map it is 0, the mean of standardised features.
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
        hidden: Sequence[int] = (128,),
        head: PredictiveHeadName = "heteroscedastic",
        components: int = 3,
        levels: Sequence[float] = LEVELS,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        skip: bool = True,
        min_scale: float = 1e-3,
        min_std: float = 1e-2,
        init: Literal["unit", "data"] = "unit",
        kernel: KernelName = "auto",
        missing: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = [in_features, *hidden]
        check_sizes(sizes, "[in_features, *hidden]")
        if init not in ("unit", "data"):
            raise ValueError(f"init must be 'unit' or 'data', got {init!r}")
        self.init = init
        self.layers = nn.ModuleList(
            UGMM(
                n_in,
                n_out,
                dropout=0.0 if i else dropout,
                input_dropout=0.0 if i else input_dropout,
                min_scale=min_scale,
                loc_std=1.0 if i else 0.5,
                kernel=kernel,
                device=device,
                dtype=dtype,
            )
            for i, (n_in, n_out) in enumerate(pairwise(sizes))
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, device=device, dtype=dtype) for width in hidden
        )
        self.head = make_predictive_head(
            head, sizes[-1], components, levels, min_std, device, dtype
        )
        self.skip = (
            nn.Linear(in_features, 1, bias=False, device=device, dtype=dtype) if skip else None
        )
        if missing:
            self.expect_missing()

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions' parameters: (..., N) to (..., P)."""
        features = x
        for layer, norm in zip(self.layers, self.norms, strict=True):
            features = norm(layer(features))
        features = features / math.sqrt(features.shape[-1])
        if self.skip is None:
            return self.head(features)
        known = x.nan_to_num(0.0, torch.inf, -torch.inf) if self.missing else x
        return self.head(features, self.skip(known))

    def expect_missing(self) -> None:
        """See `Network.expect_missing`: what its argument `missing` does."""
        first = cast("UGMM", self.layers[0])
        self.missing = first.missing = self.init_args["missing"] = True

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:  # noqa: ARG002
        """Initialise every layer from a batch of data as it arrives there; see `UGMM.init_from`.

        Args:
            x: (batch, N).
            y: Not used.
        """
        for layer, norm in zip(self.layers, self.norms, strict=True):
            cast("UGMM", layer).init_from(x)
            x = norm(layer(x))

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its layers describe themselves."""
        return f"init={self.init!r}" + ", missing=True" * self.missing
