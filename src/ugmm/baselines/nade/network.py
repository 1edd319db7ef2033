"""NADE: the autoregressive network of rectifiers, to compare mixture neurons with; or of none."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.baselines.nade.sums import prefix_sums
from ugmm.nn.autoregressive import AutoregressiveDensity, HeadName, make_head
from ugmm.nn.checks import check_positive
from ugmm.nn.labels import rows_of

__all__ = ["NADE"]


class NADE(AutoregressiveDensity):
    r"""A density of features and label: each feature given the label and all earlier features.

    The first layer is a linear map of each prefix, whose sums all prefixes share,

    .. math::
        h^{(d)} = \max\Big(0, \operatorname{LN}\Big(c_y + \sum_{k < d} W_k x_k \Big)\Big)

    and more layers, of the same kind, may follow. The heads are those of
    :class:`ugmm.nn.AutoregressiveUGMM`, which has mixture neurons in place of these. Without any
    layer, what is left is the heads' linear term of neighbours.

    Reference:
        H. Larochelle and I. Murray, *The Neural Autoregressive Distribution Estimator*, AISTATS
        2011; here with rectifiers, and LayerNorm (LN) before them.

    Arguments:
        n_features: D.
        n_classes: Number of classes; 1 where there is no label.
        hidden: Widths of the layers; there may be none.
        head: The distribution of a feature: ``"gaussian"``, ``"bernoulli"`` or ``"levels"``.
        components: Of a mixture.
        levels: How many values a feature of the head ``"levels"`` may have.
        neighbours: How far the pixels of the linear term are, at most; 0 for no such term.
        image_shape: Height and width of images; None for square ones.
        positions: In training, how many features' conditionals are computed at each step; None
            computes all.

    Shapes:
        features (..., D), labels (...), results (...).

    Raises:
        ValueError: If a size is out of its range, or there is no such head.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int = 1,
        hidden: Sequence[int] = (128,),
        head: HeadName = "gaussian",
        components: int = 4,
        levels: int = 256,
        neighbours: int = 0,
        image_shape: Sequence[int] | None = None,
        positions: int | None = None,
    ) -> None:
        super().__init__(n_features, n_classes, positions)
        for width in hidden:
            check_positive(width=width)
        first = hidden[0] if hidden else 0
        bound = 1 / math.sqrt(n_features)
        self.weight = nn.Parameter(torch.empty(first, n_features).uniform_(-bound, bound))
        self.start = nn.Parameter(torch.zeros(n_classes, first))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in hidden)
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(hidden))
        made = make_head(
            head,
            n_features,
            hidden[-1] if hidden else 0,
            components=components,
            levels=levels,
            neighbours=neighbours,
            image_shape=image_shape,
        )
        self.read_by(made)

    def features(
        self,
        x: Tensor,
        y: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Return the activations of each prefix that the head reads: (batch, D or P, M).

        Raises:
            ValueError: If an order is asked for: there is one only.
        """
        if order is not None:
            raise ValueError("the order of a NADE's features is fixed")
        if chosen is None:
            chosen = torch.arange(self.n_features, device=x.device)
        h = prefix_sums(x, self.weight, chosen) + rows_of(self.start, y).unsqueeze(1)
        if len(self.norms) == 0:
            return h
        h = F.relu(self.norms[0](h))
        for layer, norm in zip(self.layers, list(self.norms)[1:], strict=True):
            h = F.relu(norm(layer(h)))
        return h

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its layers and head describe themselves."""
        widths = [len(norm.weight) for norm in self.norms]  # type: ignore[arg-type]
        return f"{super().extra_repr()}, hidden={widths}"
