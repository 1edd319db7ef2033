"""The head of features that have levels, such as the grey levels of pixels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ugmm.nn.autoregressive.heads.common import DiscreteHead, features_at, kind_of_noise
from ugmm.nn.autoregressive.heads.neighbours import Neighbours

__all__ = ["LevelsHead"]

_MIN_SCALE = 1e-3  # an eighth of the step between 256 levels of [-1, 1]; PixelCNN++ has e**-7
_BEYOND = 1.25  # where the outermost components begin: most of their mass is beyond -1 and 1


class LevelsHead(DiscreteHead):
    r"""A mixture of discretised logistic distributions over L levels, for each feature.

    A feature is k / (L - 1) for a level k, and t = 2 x - 1 its place in [-1, 1], where levels are
    :math:`2 h = 2 / (L - 1)` apart. With the distribution function of the logistic distribution,
    :math:`F(t) = \operatorname{sigmoid}((t - m) / s)`, a component gives a level the mass between
    the borders half-way to its neighbours,

    .. math::
        F(t + h) - F(t - h) = \operatorname{sigmoid}(u) \, \operatorname{sigmoid}(-l) \,
            (1 - e^{-(u - l)}), \quad u = (t + h - m) / s, \; l = (t - h - m) / s

    and the lowest and the highest level a tail of it too, :math:`F(t + h)` and
    :math:`1 - F(t - h)`. So each component's masses sum to one, and by the product on the right
    no digits are lost. Log-weights, means m and logarithms of the scales s are read off the scores
    g of the feature's prefix by weights of the feature's own, :math:`V_d g^{(d)} + c_d`, or by
    those and weights that all features share, :math:`(V + V_d) g^{(d)} + c_d`.

    Reference:
        T. Salimans, A. Karpathy, X. Chen, D. P. Kingma, *PixelCNN++*, arXiv:1701.05517.

    Arguments:
        n_features: D.
        width: M, the number of scores for each feature.
        components: J, the number of logistics.
        levels: L, at least 3: two levels are the Bernoulli head's.
        near: A linear term of the pixels before each, (batch, P, 3 J), or None.
        shared: Whether there are shared weights.
    """

    levels: int

    def __init__(
        self,
        n_features: int,
        width: int,
        components: int,
        levels: int = 256,
        near: Neighbours | None = None,
        shared: bool = False,
    ) -> None:
        start = [torch.zeros(components), _places(components)]
        start.append(torch.full((components,), -math.log(components + 1)))
        bias = torch.cat(start).repeat(n_features, 1)
        super().__init__(torch.zeros(n_features, width, 3 * components), bias, near, shared)
        self.levels, self.components = levels, components

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Start each feature's weights from how often a component is nearest to x (batch, D)."""
        nearest = (x * (self.components - 1)).round().long()
        counts = F.one_hot(nearest, self.components).sum(0)
        self.bias[:, : self.components] = (counts + 0.5).log().to(self.bias)

    def parts(
        self,
        g: Tensor,
        x: Tensor,
        chosen: Tensor | slice | None,
        order: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mixtures of the chosen features; see `GaussianHead.parts`.

        Returns:
            Log-weights, means and scales, (batch, P, J) each, for features that go from -1 to 1.
        """
        at = features_at(chosen, order)
        # A product of matrices for each feature.
        read = torch.einsum("bpm,pmk->bpk", g, self.weights(at)) + self.bias[at]
        if self.near is not None:
            read = read + self.near(x, chosen)
        logits, mean, raw_scale = read.split(self.components, -1)
        return logits.log_softmax(-1), mean, _MIN_SCALE + raw_scale.exp()

    def forward(
        self, g: Tensor, x: Tensor, chosen: Tensor | None, order: Tensor | None = None
    ) -> Tensor:
        """Return log-probabilities, as `GaussianHead.forward` does log-densities."""
        log_weight, mean, scale = self.parts(g, x, chosen, order)
        value = x if chosen is None else x[:, chosen]
        half, t = 1 / (self.levels - 1), (2 * value - 1).unsqueeze(-1)
        lowest, highest = t < -1 + half, t > 1 - half
        below = F.logsigmoid((t + half - mean) / scale).masked_fill(highest, 0)
        above = F.logsigmoid((mean - t + half) / scale).masked_fill(lowest, 0)
        between = (-torch.expm1(-2 * half / scale)).log().masked_fill(lowest | highest, 0)
        return (log_weight + below + above + between).logsumexp(-1)

    def noise(
        self, n: int, features: int, generator: torch.Generator | None
    ) -> tuple[Tensor, ...]:
        """Return what decides so many features of n draws: two numbers each, (n, features)."""
        kind, device = kind_of_noise(self.bias, generator), self.bias.device
        which = torch.rand(n, features, **kind).to(device)
        return which, torch.rand(n, features, **kind).to(device)

    def draw(self, g: Tensor, x: Tensor, d: int, noise: Sequence[Tensor]) -> Tensor:
        """Draw feature d, as `GaussianHead.draw` does: the level that a logistic's draw is in."""
        parts = (part[:, 0] for part in self.parts(g[:, None], x, slice(d, d + 1)))
        log_weight, mean, scale = parts
        which, share = noise
        up_to = log_weight.exp().to(which.dtype).cumsum(-1)
        part = (which[:, None] * up_to[:, -1:] >= up_to).sum(-1).clamp(max=up_to.shape[1] - 1)
        mean, scale = (each.gather(1, part[:, None]).squeeze(1) for each in (mean, scale))
        t = mean + scale * share.logit().to(mean)
        level = ((t + 1) / 2 * (self.levels - 1)).round().clamp(0, self.levels - 1)
        return level / (self.levels - 1)

    def extra_repr(self) -> str:
        """Describe the head in `repr`."""
        n_features, width, _ = self.weight.shape
        text = f"n_features={n_features}, width={width}, components={self.components}"
        return f"{text}, levels={self.levels}"


def _places(components: int) -> Tensor:
    """Return where the components begin, (J,)."""
    if components == 1:
        return torch.zeros(1)
    places = torch.linspace(-1, 1, components)
    places[[0, -1]] *= _BEYOND
    return places
