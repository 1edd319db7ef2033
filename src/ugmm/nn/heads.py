"""What the autoregressive network makes of its scores: the distribution of each feature."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BernoulliHead", "GaussianHead"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


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

    def parts(self, g: Tensor, x: Tensor, chosen: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mixtures of the chosen features.

        Args:
            g: Scores, (batch, P, M).
            x: Features, (batch, D); those before a feature shift its means.
            chosen: Positions, (P,), or None for all.

        Returns:
            Log-weights and means, (batch, P, J), and scales, (P, J).
        """
        at = slice(None) if chosen is None else chosen
        logits = torch.einsum("bpm,pjm->bpj", g, self.weight[at]) + self.bias[at]
        slope = (self.slope * self.before)[at]
        mean = self.loc[at] + torch.einsum("bd,pjd->bpj", x, slope)
        return logits.log_softmax(-1), mean, self.min_scale + self.raw_scale[at].exp()

    def forward(self, g: Tensor, x: Tensor, chosen: Tensor | None) -> Tensor:
        """Return the features' log-densities: g (batch, P, M) and x (batch, D) to (batch, P)."""
        log_weight, mean, scale = self.parts(g, x, chosen)
        value = x if chosen is None else x[:, chosen]
        z = (value.unsqueeze(-1) - mean) / scale
        return (log_weight - 0.5 * z.square() - scale.log() - _LOG_SQRT_2PI).logsumexp(-1)

    def sample(
        self, g: Tensor, x: Tensor, chosen: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Draw one feature, given those before it in x (batch, D): (batch,)."""
        log_weight, mean, scale = self.parts(g, x, chosen)
        part = torch.multinomial(log_weight[:, 0].exp(), 1, generator=generator)
        noise = torch.randn(len(x), generator=generator, device=x.device, dtype=x.dtype)
        return mean[:, 0].gather(1, part).squeeze(1) + noise * scale[0][part.squeeze(1)]

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

    def logits(self, g: Tensor, chosen: Tensor | None) -> Tensor:
        """Return the logits of the chosen features: (batch, P, M) to (batch, P)."""
        at = slice(None) if chosen is None else chosen
        return torch.einsum("bpm,pm->bp", g, self.weight[at]) + self.bias[at]

    def forward(self, g: Tensor, x: Tensor, chosen: Tensor | None) -> Tensor:
        """Return the features' log-probabilities: g (batch, P, M), x (batch, D) to (batch, P)."""
        value = x if chosen is None else x[:, chosen]
        logits = self.logits(g, chosen)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def sample(
        self,
        g: Tensor,
        x: Tensor,  # noqa: ARG002  needed by the Gaussian head
        chosen: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Draw one feature, (batch,), from its scores g (batch, 1, M)."""
        return torch.bernoulli(self.logits(g, chosen)[:, 0].sigmoid(), generator=generator)

    def extra_repr(self) -> str:
        """Describe the head in `repr`."""
        n_features, width = self.weight.shape
        return f"n_features={n_features}, width={width}"
