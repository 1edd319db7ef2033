"""What the autoregressive network makes of its scores: the distribution of each feature."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BernoulliHead", "GaussianHead"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def _kind_of_noise(parameter: Tensor, generator: torch.Generator | None) -> dict[str, Any]:
    """Where and of what type random numbers are: those of half a precision would be too coarse."""
    device = parameter.device if generator is None else generator.device
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return {"generator": generator, "device": device, "dtype": dtype}


def _features_at(chosen: Tensor | slice | None, order: Tensor | None) -> Tensor | slice:
    """Return the numbers of the features at the chosen positions of an order; see `parts`."""
    if order is None:
        return slice(None) if chosen is None else chosen
    return order if chosen is None else order[chosen]


class GaussianHead(nn.Module):
    """A mixture of Gaussians for each feature, with weights that depend on the scores.

    The formula is that of `AutoregressiveUGMM`.

    Arguments:
        n_features: D.
        width: M, the number of scores for each feature.
        components: J, the number of Gaussians.
        min_scale: Floor under every scale.
    """

    def __init__(self, n_features: int, width: int, components: int, min_scale: float) -> None:
        super().__init__()
        self.min_scale = min_scale
        self.weight = nn.Parameter(torch.randn(n_features, components, width) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(n_features, components))
        self.loc = nn.Parameter(torch.randn(n_features, components))
        self.raw_scale = nn.Parameter(torch.full((n_features, components), -0.7))
        self.slope = nn.Parameter(torch.zeros(n_features, components, n_features))
        self.register_buffer("before", torch.ones(n_features, n_features).tril(-1)[:, None])

    before: Tensor

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Spread each feature's components as the feature itself is spread in x (batch, D)."""
        spread = x.std(0, correction=0).clamp(min=1e-3)[:, None]
        self.loc.normal_().mul_(spread).add_(x.mean(0)[:, None])
        self.raw_scale.copy_((spread / 2).log().expand_as(self.raw_scale))

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Number the features anew: the first is now the one that was number order[0]."""
        for parameter in self.parameters():
            parameter.copy_(parameter[order])
        self.slope.copy_(self.slope[..., order])

    def parts(
        self,
        g: Tensor,
        x: Tensor,
        chosen: Tensor | slice | None,
        order: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mixtures of the chosen features.

        Args:
            g: Scores, (batch, P, M).
            x: Features in their order, (batch, D); those before a feature shift its means.
            chosen: Positions, (P,), or None for all.
            order: The number of the feature at each position, (D,); None: its position.

        Returns:
            Log-weights and means, (batch, P, J), and scales, (P, J).
        """
        at = _features_at(chosen, order)
        logits = torch.einsum("bpm,pjm->bpj", g, self.weight[at]) + self.bias[at]
        slope = self.slope[at] if order is None else self.slope[at].index_select(-1, order)
        slope = slope * self.before[_features_at(chosen, None)]
        mean = self.loc[at] + torch.einsum("bd,pjd->bpj", x, slope)
        return logits.log_softmax(-1), mean, self.min_scale + self.raw_scale[at].exp()

    def forward(
        self, g: Tensor, x: Tensor, chosen: Tensor | None, order: Tensor | None = None
    ) -> Tensor:
        """Return log-densities: g (batch, P, M) and x (batch, D) to (batch, P); see `parts`."""
        log_weight, mean, scale = self.parts(g, x, chosen, order)
        value = x if chosen is None else x[:, chosen]
        z = (value.unsqueeze(-1) - mean) / scale
        return (log_weight - 0.5 * z.square() - scale.log() - _LOG_SQRT_2PI).logsumexp(-1)

    def noise(
        self, n: int, features: int, generator: torch.Generator | None
    ) -> tuple[Tensor, ...]:
        """Return what decides so many features of n draws: two numbers each, (n, features)."""
        kind, device = _kind_of_noise(self.loc, generator), self.loc.device
        which = torch.rand(n, features, **kind).to(device)
        return which, torch.randn(n, features, **kind).to(device)

    def draw(self, g: Tensor, x: Tensor, d: int, noise: Sequence[Tensor]) -> Tensor:
        """Draw feature d from its scores g (n, M), those before it in x (n, D) and its noise."""
        log_weight, mean, scale = self.parts(g[:, None], x, slice(d, d + 1))
        which, deviation = noise
        up_to = log_weight[:, 0].exp().to(which.dtype).cumsum(-1)
        part = (which[:, None] * up_to[:, -1:] >= up_to).sum(-1).clamp(max=up_to.shape[1] - 1)
        return mean[:, 0].gather(1, part[:, None]).squeeze(1) + deviation * scale[0][part]

    def extra_repr(self) -> str:
        """Describe the head in `repr`."""
        n_features, components, width = self.weight.shape
        text = f"n_features={n_features}, width={width}, components={components}"
        return f"{text}, min_scale={self.min_scale}"


class BernoulliHead(nn.Module):
    """The probability that a feature is 1, for each feature.

    The formula is that of `AutoregressiveUGMM`.

    Arguments:
        n_features: D.
        width: M, the number of scores for each feature.
    """

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_features, width))
        self.bias = nn.Parameter(torch.zeros(n_features))

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Start each feature from its share of ones in x (batch, D)."""
        share = (x.sum(0) + 0.5) / (len(x) + 1)
        self.bias.copy_(share.logit())

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Number the features anew: the first is now the one that was number order[0]."""
        for parameter in self.parameters():
            parameter.copy_(parameter[order])

    def logits(
        self, g: Tensor, chosen: Tensor | slice | None, order: Tensor | None = None
    ) -> Tensor:
        """Return the logits of the chosen features: (batch, P, M) to (batch, P)."""
        at = _features_at(chosen, order)
        return torch.einsum("bpm,pm->bp", g, self.weight[at]) + self.bias[at]

    def forward(
        self, g: Tensor, x: Tensor, chosen: Tensor | None, order: Tensor | None = None
    ) -> Tensor:
        """Return log-probabilities, as `GaussianHead.forward` does log-densities."""
        value = x if chosen is None else x[:, chosen]
        logits = self.logits(g, chosen, order)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def noise(
        self, n: int, features: int, generator: torch.Generator | None
    ) -> tuple[Tensor, ...]:
        """Return what decides so many features of n draws: a number each, (n, features)."""
        kind = _kind_of_noise(self.bias, generator)
        return (torch.rand(n, features, **kind).to(self.bias.device),)

    def draw(
        self,
        g: Tensor,
        x: Tensor,  # noqa: ARG002  needed by the Gaussian head
        d: int,
        noise: Sequence[Tensor],
    ) -> Tensor:
        """Draw feature d from its scores g (n, M) and its noise: (n,)."""
        p = self.logits(g[:, None], slice(d, d + 1))[:, 0].sigmoid()
        return (noise[0] < p).to(p.dtype) + (p - p)  # a NaN stays one

    def folded(self, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """Return weights (D, M) and biases (D,) for scores without this norm's own."""
        return self.weight * norm.weight, self.bias + (self.weight * norm.bias).sum(-1)

    def extra_repr(self) -> str:
        """Describe the head in `repr`."""
        n_features, width = self.weight.shape
        return f"n_features={n_features}, width={width}"
