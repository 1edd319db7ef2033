"""The head of features that are 0 or 1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.nn.autoregressive.heads.common import DiscreteHead, features_at, kind_of_noise
from ugmm.nn.autoregressive.heads.neighbours import Neighbours

__all__ = ["BernoulliHead"]


class BernoulliHead(DiscreteHead):
    """The probability that a feature is 1, for each feature.

    The formula is that of `AutoregressiveUGMM`.

    Arguments:
        n_features: D.
        width: M, the number of scores for each feature.
        near: A linear term of the pixels before each, (batch, P, 1), or None.
        shared: Whether features share weights that are added to each one's own.
    """

    levels: int | None = 2

    def __init__(
        self, n_features: int, width: int, near: Neighbours | None = None, shared: bool = False
    ) -> None:
        super().__init__(torch.zeros(n_features, width), torch.zeros(n_features), near, shared)

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Start each feature from its share of ones in x (batch, D)."""
        share = (x.sum(0) + 0.5) / (len(x) + 1)
        self.bias.copy_(share.logit())

    def logits(
        self,
        g: Tensor,
        x: Tensor,
        chosen: Tensor | slice | None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of the chosen features, as `GaussianHead.parts` its mixtures."""
        at = features_at(chosen, order)
        logits = torch.einsum("bpm,pm->bp", g, self.weights(at)) + self.bias[at]
        return logits if self.near is None else logits + self.near(x, chosen).squeeze(-1)

    def forward(
        self, g: Tensor, x: Tensor, chosen: Tensor | None, order: Tensor | None = None
    ) -> Tensor:
        """Return log-probabilities, as `GaussianHead.forward` does log-densities."""
        value = x if chosen is None else x[:, chosen]
        logits = self.logits(g, x, chosen, order)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def noise(
        self, n: int, features: int, generator: torch.Generator | None
    ) -> tuple[Tensor, ...]:
        """Return what decides so many features of n draws: a number each, (n, features)."""
        kind = kind_of_noise(self.bias, generator)
        return (torch.rand(n, features, **kind).to(self.bias.device),)

    def draw(self, g: Tensor, x: Tensor, d: int, noise: Sequence[Tensor]) -> Tensor:
        """Draw feature d, as `GaussianHead.draw` does: (n,)."""
        p = self.logits(g[:, None], x, slice(d, d + 1))[:, 0].sigmoid()
        return (noise[0] < p).to(p.dtype) + (p - p)  # a NaN stays one

    def folded(self, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """Return weights (D, M) and biases (D,) for scores without this norm's own."""
        weight = self.weights(slice(None))
        return weight * norm.weight, self.bias + (weight * norm.bias).sum(-1)

    def extra_repr(self) -> str:
        """Describe the head in `repr`."""
        n_features, width = self.weight.shape
        return f"n_features={n_features}, width={width}"
