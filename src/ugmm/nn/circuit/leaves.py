"""The leaves of a circuit: densities of one variable each, made of mixture neurons."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["MixtureLeaves", "Sampler", "choose", "uniform"]

Sampler = Callable[[Tensor, Tensor, torch.Generator | None], Tensor]
_DrawAt = Callable[[tuple[Tensor, Tensor, Tensor], torch.Generator | None], Tensor]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_SMALLEST_SPREAD = 1e-3  # of a constant feature
_START = 0.6  # scale of a new component, in the feature's standard deviations
_REACH = 5.0  # of the quadrature: sinh(5) = 74 standard deviations on either side
_NODES = 1024  # steps of the quadrature in training
_FINE = 4096  # and later


def choose(logits: Tensor, u: Tensor) -> Tensor:
    """Return the number that each uniform draw picks from weights: (..., K), (...) to (...)."""
    edges = logits.softmax(-1).cumsum(-1)
    picked = (edges <= u.unsqueeze(-1) * edges[..., -1:]).sum(-1)
    return picked.clamp(max=logits.shape[-1] - 1)


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return numbers from [0, 1), drawn on the CPU, of a tensor's shape and on its device."""
    drawn = torch.rand(like.shape, generator=generator, dtype=torch.float64)
    return drawn.to(like.device)


class _Neurons(nn.Module):
    """Layers of mixture neurons side by side, one for each place (R, D): its own N inputs."""

    def __init__(self, places: Sequence[int], n_in: int, n_out: int, min_scale: float) -> None:
        super().__init__()
        shape = (*places, n_out, n_in)
        self.min_scale = min_scale
        self.loc = nn.Parameter(torch.randn(shape))
        self.raw_scale = nn.Parameter(torch.zeros(shape))
        self.logits = nn.Parameter(torch.zeros(shape))

    @property
    def scale(self) -> Tensor:
        return self.min_scale + self.raw_scale.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, R, D, M) for inputs (batch, R, D, N), or one that all components see."""
        loc, raw_scale, logits = (p.to(x.dtype) for p in (self.loc, self.raw_scale, self.logits))
        scale = self.min_scale + raw_scale.exp()
        level = logits.log_softmax(-1) - scale.log() - _LOG_SQRT_2PI
        rate = scale.reciprocal()  # two passes over the components before their sum, not four
        z = torch.addcmul(-loc * rate, x.unsqueeze(-2), rate)
        return torch.addcmul(level, z, z, value=-0.5).logsumexp(-1)

    def start(self, mean: Tensor, spread: Tensor, share: float = 1.0) -> None:
        """Draw means as the inputs are spread (R, D, N); scales are a share of that spread."""
        mean, spread = mean.unsqueeze(-2), spread.clamp(min=_SMALLEST_SPREAD).unsqueeze(-2)
        self.loc.normal_().mul_(spread).add_(mean)
        scale = (share * spread).expand_as(self.raw_scale)
        self.raw_scale.copy_(torch.maximum(scale - self.min_scale, scale / 10).log())
        self.logits.normal_(0, 0.1)


class MixtureLeaves(nn.Module):
    r"""K densities of every feature, in each of R repetitions.

    Without hidden layers a leaf is a mixture neuron of one variable, a mixture of J Gaussians.
    With them it is a network of mixture neurons of that variable, whose score :math:`f` is
    normalised by quadrature: :math:`\log p(x) = f(x) - \log \int \exp f`. That integral is finite
    at any depth, since f falls at least as fast as a Gaussian's logarithm. (The trapezoid rule in
    :math:`t`, with :math:`x = m + s \sinh t`, converges exponentially once a step is below the
    narrowest peak's width.)

    Arguments:
        repetitions: R.
        n_features: D.
        channels: K.
        components: J.
        hidden: Widths of the layers between a variable and its leaves.
        min_scale: Floor under every scale.

    Shapes:
        input (batch, R, D), output (batch, R, D, K).
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        repetitions: int,
        n_features: int,
        channels: int,
        components: int,
        hidden: Sequence[int],
        min_scale: float,
    ) -> None:
        super().__init__()
        places = (repetitions, n_features)
        self.layers = nn.ModuleList(
            _Neurons(places, n_in, n_out, min_scale)
            for n_in, n_out in pairwise([components, *hidden, channels])
        )
        self.register_buffer("centre", torch.zeros(places))  # of the quadrature
        self.register_buffer("spread", torch.ones(places))

    def forward(self, x: Tensor) -> Tensor:
        """Return every leaf's log-density, in nats."""
        score = self._score(x)
        if len(self.layers) > 1:
            _, log_mass = self._grid(_NODES if self.training else _FINE)
            score = score - log_mass.logsumexp(0)
        return score.to(x.dtype)

    def _score(self, x: Tensor) -> Tensor:
        """Return the last layer's scores, in a type that holds the squares of scores far out."""
        first, *rest = self.layers
        dtype = torch.promote_types(x.dtype, torch.float32)
        least = -(torch.finfo(dtype).max ** 0.4)
        h = first(x.to(dtype).unsqueeze(-1))
        for layer in rest:
            h = layer(h.clamp(min=least))
        return h

    def _grid(self, steps: int) -> tuple[Tensor, Tensor]:
        """Return equidistant t (Q,), and what each adds to log of the integral: (Q, R, D, K)."""
        dtype = torch.promote_types(self.centre.dtype, torch.float32)
        t = torch.linspace(-_REACH, _REACH, steps + 1, dtype=dtype, device=self.centre.device)
        slope = self.spread * t.cosh()[:, None, None] * (2 * _REACH / steps)
        return t, self._score(self._place(t[:, None, None])) + slope.log().unsqueeze(-1)

    def _place(self, t: Tensor) -> Tensor:
        return self.centre + self.spread * t.sinh()

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Spread the neurons as the data is spread: (batch, R, D)."""
        spread, mean = torch.std_mean(x, dim=0, correction=0)
        self.centre.copy_(mean)
        # A leaf of a constant feature is as wide as its scales, and the quadrature has to hold it.
        least = max(_SMALLEST_SPREAD, cast("_Neurons", self.layers[0]).min_scale)
        self.spread.copy_(spread.clamp(min=least))
        h = x.unsqueeze(-1)
        for number, layer in enumerate(cast("list[_Neurons]", list(self.layers))):
            wide, middle = torch.std_mean(h, dim=0, correction=0)
            layer.start(middle, wide, _START if number == 0 else 1.0)
            h = layer(h)

    def sampler(self) -> Sampler:
        """Return what draws from chosen leaves: repetitions (S,), channels (S, D) to (S, D).

        The generator lives on the CPU. Leaves with hidden layers are drawn by inverting the
        quadrature's integral, with densities that are linear between its nodes.
        """
        place = torch.arange(self.centre.shape[1], device=self.centre.device)
        draw = self._mixture_sampler() if len(self.layers) == 1 else self._table_sampler()
        return lambda r, k, generator: draw((r.unsqueeze(-1), place, k), generator)

    def _mixture_sampler(self) -> _DrawAt:
        layer = cast("_Neurons", self.layers[0])

        def draw(at: tuple[Tensor, Tensor, Tensor], generator: torch.Generator | None) -> Tensor:
            chosen = choose(layer.logits[at], uniform(at[2], generator))
            own = (*at, chosen)
            noise = torch.randn(chosen.shape, generator=generator, dtype=torch.float64)
            return layer.loc[own] + layer.scale[own] * noise.to(layer.loc)

        return draw

    def _table_sampler(self) -> _DrawAt:
        t, log_mass = self._grid(_FINE)
        at_node = (log_mass - log_mass.logsumexp(0)).exp().flatten(1).t()  # (leaves, Q)
        cells = 0.5 * (at_node[:, 1:] + at_node[:, :-1])
        edges = nn.functional.pad(cells.cumsum(-1), (1, 0))
        edges = edges / edges[:, -1:]
        # One increasing table for all leaves: leaf i has the numbers from 2 i to 2 i + 1.
        leaves = torch.arange(len(edges), device=edges.device)
        table = (edges + 2 * leaves.unsqueeze(-1)).flatten()
        _, n_features, channels = log_mass.shape[1:]

        def draw(at: tuple[Tensor, Tensor, Tensor], generator: torch.Generator | None) -> Tensor:
            r, place, k = at
            leaf = (r * n_features + place) * channels + k
            u = uniform(leaf, generator).to(table)
            cell = torch.searchsorted(table, u + 2 * leaf, right=True) - 1 - leaf * len(t)
            cell = cell.clamp(0, len(t) - 2)
            low, high = at_node[leaf, cell], at_node[leaf, cell + 1]
            # The share of the cell below u, and where in it a linear density has that share.
            edge, width = edges[leaf, cell], edges[leaf, cell + 1] - edges[leaf, cell]
            share = ((u - edge) / width).clamp(0, 1)
            root = (low.square() + share * (high.square() - low.square())).sqrt()
            within = (share * (low + high) / (low + root)).nan_to_num(0.5)
            return (
                self.centre[r, place]
                + self.spread[r, place] * (t[cell] + within * (t[1] - t[0])).sinh()
            )

        return draw
