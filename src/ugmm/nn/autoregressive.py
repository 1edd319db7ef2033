"""The autoregressive network: normalised by construction, exact in one pass."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.functional import cumulative_log_score
from ugmm.kernels import KernelName
from ugmm.nn.classifier import Density
from ugmm.nn.mixture import UGMM

__all__ = ["AutoregressiveUGMM"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class AutoregressiveUGMM(Density):
    r"""A density of features and label: each feature given the label and the features before it.

    .. math::
        p(x, y) = p(y) \prod_d p(x_d \mid x_{<d}, y)

    The first layer scores every prefix of the inputs in one pass, by a cumulative sum over its
    components:

    .. math::
        h_j^{(d)} = \log \Big( e^{a_{yj}}
            + \sum_{k < d} \pi_{jk} \, \mathcal{N}(x_k; \mu_{jk}, \sigma_{jk}^2) \Big)

    The component :math:`a_{yj}`, one for each class, looks at no input and is never dropped: the
    empty prefix has a score. Layers of mixture neurons shared by all prefixes may follow, with
    LayerNorm before each; a read-out of its own for each feature makes the last one's scores
    :math:`g^{(d)}` the parameters of a *head*:

    - ``"gaussian"``: a mixture of J Gaussians, whose means also follow the features before,
      :math:`\sum_i \operatorname{softmax}(V_d g^{(d)})_i \,
      \mathcal{N}(x_d; m_{di} + A_{di} x_{<d}, s_{di}^2)`;
    - ``"bernoulli"``: :math:`p(x_d = 1) = \operatorname{sigmoid}(v_d g^{(d)} + c_d)`, for
      features that are 0 or 1.

    The sharing of one cumulative layer by all conditionals is NADE's (H. Larochelle and I. Murray,
    AISTATS 2011), of mixture neurons instead of sigmoid ones.

    Arguments:
        n_features: D.
        n_classes: Number of classes; 1 where there is no label.
        hidden: Widths of the first layer and of those shared by all prefixes.
        head: What a feature is.
        components: J of the Gaussian head.
        positions: In training, the number of features whose conditionals are computed at each
            step, drawn at random; their sum is scaled up, so that the loss is right on average.
            None computes all.
        dropout: Probability that an input's component of the first layer is dropped.
        min_scale: Floor under every scale, of neurons and of the head.
        kernel: See :func:`ugmm.functional.mixture_log_score`.

    Shapes:
        features (..., D), labels (...), results (...).
    """

    head: "GaussianHead | BernoulliHead"

    def __init__(
        self,
        n_features: int,
        n_classes: int = 1,
        hidden: Sequence[int] = (128,),
        head: Literal["gaussian", "bernoulli"] = "gaussian",
        components: int = 4,
        positions: int | None = None,
        dropout: float = 0.0,
        min_scale: float = 1e-3,
        kernel: KernelName = "auto",
    ) -> None:
        super().__init__()
        if n_features < 1 or n_classes < 1 or not hidden:
            raise ValueError("there must be at least one feature, one class and one hidden width")
        if head not in ("gaussian", "bernoulli"):
            raise ValueError(f"head must be 'gaussian' or 'bernoulli', got {head!r}")
        self.n_features, self.positions, self.kernel = n_features, positions, kernel
        self.prefix = UGMM(n_features, hidden[0], dropout, min_scale, kernel=kernel)
        # As heavy as one component of N at its mean.
        start = torch.randn(n_classes, hidden[0]) - math.log(n_features) - _LOG_SQRT_2PI
        self.start = nn.Parameter(start)
        self.class_logits = nn.Parameter(torch.zeros(n_classes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in hidden)
        self.layers = nn.ModuleList(
            UGMM(n, m, min_scale=min_scale, kernel=kernel) for n, m in pairwise(hidden)
        )
        if head == "gaussian":
            self.head = GaussianHead(n_features, hidden[-1], components, min_scale)
        else:
            self.head = BernoulliHead(n_features, hidden[-1])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log p(x, y), in nats; in training, an estimate of it if `positions` is given."""
        shape, d = x.shape[:-1], self.n_features
        x, y = x.reshape(-1, d), y.reshape(-1)
        chosen = None
        if self.training and self.positions is not None and self.positions < d:
            chosen = torch.randperm(d, device=x.device)[: self.positions].sort().values
        total = self.conditionals(x, y, chosen).sum(-1)
        if chosen is not None:
            total = total * (d / len(chosen))
        return (total + self.class_logits.log_softmax(0)[y]).reshape(shape)

    def conditionals(self, x: Tensor, y: Tensor, chosen: Tensor | None = None) -> Tensor:
        r"""Return :math:`\log p(x_d \mid x_{<d}, y)` of every feature, or of some.

        Args:
            x: (batch, D).
            y: (batch,).
            chosen: Increasing positions, (P,), int64.

        Returns:
            (batch, D) or (batch, P).
        """
        return self.head(self.features(x, y, chosen), x, chosen)

    def features(self, x: Tensor, y: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Return what the head reads of each prefix: (batch, D or P, hidden[-1])."""
        return self._after_first(self._prefix_scores(x, y, chosen))

    def _prefix_scores(self, x: Tensor, y: Tensor, chosen: Tensor | None = None) -> Tensor:
        prefix = self.prefix
        log_weights = prefix.masked_logits().log_softmax(-1)
        parameters = (prefix.loc, prefix.log_scale, log_weights, self.start[y])
        return cumulative_log_score(x, *parameters, chosen, kernel=self.kernel)

    def prefix_log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log p(x_1, ..., x_d, y) for every d, exact marginals: (batch, D)."""
        return self.conditionals(x, y).cumsum(-1) + self.class_logits.log_softmax(0)[y, None]

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D) to (..., C)."""
        c = len(self.class_logits)
        y = torch.arange(c, device=x.device).expand(*x.shape[:-1], c)
        return self(x.unsqueeze(-2).expand(*y.shape, self.n_features), y)

    @torch.no_grad()
    def sample(
        self, n: int, y: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,), one feature after the other: exact.

        Args:
            n: How many.
            y: Labels, (n,); by default, drawn.
            generator: Of random numbers, on the network's device; by default, torch's.
        """
        if y is None:
            shares = self.class_logits.softmax(0)
            y = torch.multinomial(shares, n, replacement=True, generator=generator)
        prefix = self.prefix
        log_scale, weights = prefix.log_scale, prefix.logits.log_softmax(-1)
        constants = weights - log_scale - _LOG_SQRT_2PI
        rates = (-log_scale).exp()
        h = self.start[y]
        x = torch.zeros(n, self.n_features, dtype=h.dtype, device=h.device)
        for d in range(self.n_features):
            here = torch.tensor([d], device=h.device)
            g = self._after_first(h.unsqueeze(1))
            x[:, d] = self.head.sample(g, x, here, generator)
            z = (x[:, d, None] - prefix.loc[:, d]) * rates[:, d]
            h = torch.logaddexp(h, constants[:, d] - 0.5 * z.square())
        return x, y

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Spread the first layer's neurons as the data is spread, and the labels' shares likewise.

        Args:
            x: (batch, D).
            y: (batch,), or None to leave the classes alike.
        """
        self.prefix.init_from(x)
        if y is not None:
            counts = torch.bincount(y, minlength=len(self.class_logits))
            self.class_logits.copy_((counts + 0.5).log())
        labels = torch.zeros(len(x), dtype=torch.long, device=x.device) if y is None else y
        self.head.init_from(x)
        h = self._prefix_scores(x, labels)
        for norm, layer in zip(self.norms, cast("list[UGMM]", list(self.layers)), strict=False):
            h = norm(h)
            layer.init_from(h.reshape(-1, h.shape[-1]))
            h = layer(h)

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its layers and head describe themselves."""
        n_classes = len(self.class_logits)
        return f"n_features={self.n_features}, n_classes={n_classes}, positions={self.positions}"

    def _after_first(self, h: Tensor) -> Tensor:
        for norm, layer in zip(self.norms, self.layers, strict=False):
            h = layer(norm(h))
        return self.norms[-1](h)


class GaussianHead(nn.Module):
    """For each feature a mixture of Gaussians, gated by scores; see `AutoregressiveUGMM`."""

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
        """Begin with components that are spread as each feature is in (batch, D)."""
        spread = x.std(0, correction=0).clamp(min=1e-3)[:, None]
        self.loc.normal_().mul_(spread).add_(x.mean(0)[:, None])
        self.raw_scale.copy_((spread / 2).log().expand_as(self.raw_scale))

    def parts(self, g: Tensor, x: Tensor, chosen: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights and means (batch, P, J), scales (P, J), of chosen features or of all."""
        at = slice(None) if chosen is None else chosen
        logits = torch.einsum("bpm,pjm->bpj", g, self.weight[at]) + self.bias[at]
        slope = (self.slope * self.before)[at]
        mean = self.loc[at] + torch.einsum("bd,pjd->bpj", x, slope)
        return logits.log_softmax(-1), mean, self.min_scale + self.raw_scale[at].exp()

    def forward(self, g: Tensor, x: Tensor, chosen: Tensor | None) -> Tensor:
        """Return log-densities of features: g (batch, P, M) and x (batch, D) to (batch, P)."""
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
    """For each feature the probability that it is 1; see `AutoregressiveUGMM`."""

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_features, width))
        self.bias = nn.Parameter(torch.zeros(n_features))

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Begin with each feature's own share of ones in (batch, D)."""
        share = (x.sum(0) + 0.5) / (len(x) + 1)
        self.bias.copy_(share.logit())

    def logits(self, g: Tensor, chosen: Tensor | None) -> Tensor:
        """Logits of chosen features, or of all: (batch, P, M) to (batch, P)."""
        at = slice(None) if chosen is None else chosen
        return torch.einsum("bpm,pm->bp", g, self.weight[at]) + self.bias[at]

    def forward(self, g: Tensor, x: Tensor, chosen: Tensor | None) -> Tensor:
        """Return the log-probabilities of features: (batch, P, M), x (batch, D) to (batch, P)."""
        value = x if chosen is None else x[:, chosen]
        logits = self.logits(g, chosen)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def sample(
        self,
        g: Tensor,
        x: Tensor,  # noqa: ARG002  as of the Gaussian head
        chosen: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Draw one feature: (batch,)."""
        return torch.bernoulli(self.logits(g, chosen)[:, 0].sigmoid(), generator=generator)

    def extra_repr(self) -> str:
        """Describe the head in `repr`."""
        n_features, width = self.weight.shape
        return f"n_features={n_features}, width={width}"
