"""The head of features that are any numbers: a mixture of Gaussians for each."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ugmm.nn.autoregressive.heads.common import features_at, kind_of_noise

__all__ = ["GaussianHead"]

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

    levels: int | None = None
    near = None  # its linear term is of all earlier features

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
        at = features_at(chosen, order)
        logits = torch.einsum("bpm,pjm->bpj", g, self.weight[at]) + self.bias[at]
        slope = self.slope[at] if order is None else self.slope[at].index_select(-1, order)
        slope = slope * self.before[features_at(chosen, None)]
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
        kind, device = kind_of_noise(self.loc, generator), self.loc.device
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
