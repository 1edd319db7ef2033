"""A masked convolution: neurons that look at the pixels before a place, the same ones at each."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.kernels import KernelName
from ugmm.nn.autoregressive.base import FAR
from ugmm.nn.autoregressive.heads.neighbours import places_before
from ugmm.nn.checks import check_positive
from ugmm.nn.labels import rows_of
from ugmm.nn.mixture import UGMM

__all__ = ["MaskedUGMM"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class MaskedUGMM(UGMM):
    r"""A masked convolution of mixture neurons over grey images that are rows of pixels.

    Neuron :math:`j` at pixel :math:`d` has a component for each pixel near it, among those before
    it: the :math:`N = 2 r (r + 1)` of `ugmm.nn.autoregressive.heads.neighbours.Neighbours`. Those
    that look outside of the image are dropped and the other weights renormalised, exactly; to
    what is left, :math:`V(d)`, a component is added that looks at no pixel, so that even the
    first pixel has a score:

    .. math::
        s_j(d) = \log \Big( e^{a_{yj}} + \sum_{k \in V(d)} \pi_{jk} \,
            \mathcal{N}(x_{d + k}; \mu_{jk}, \sigma_{jk}^2) \Big/ \sum_{k \in V(d)} \pi_{jk} \Big)

    Only the pixels before a place are unfolded, at the places that are asked for. Where pixels
    are 0 or 1, a component has but two values, and the sum is a product of matrices: weights
    and densities by which pixels are 0 and which are 1.

    Reference:
        A. van den Oord, N. Kalchbrenner, K. Kavukcuoglu, *Pixel Recurrent Neural Networks*,
        arXiv:1601.06759, has the mask (its "A").

    Arguments:
        image_shape: Height and width, whose product is D.
        radius: r, at least 1.
        out_features: Number of neurons M.
        n_classes: Of labels, which the component without a pixel depends on.
        binary: Whether pixels are 0 or 1.
        min_scale: Floor under every scale.
        kernel: See :func:`ugmm.functional.mixture_log_score`; not for binary pixels.

    Shapes:
        pixels (batch, D), labels (batch,), output (batch, P, M); ``loc``, ``raw_scale`` and
        ``logits`` are (M, N), and ``start`` is (n_classes, M).
    """

    places: Tensor  # (D, N), the pixels that are looked at; D where there is none

    def __init__(
        self,
        image_shape: tuple[int, int],
        radius: int,
        out_features: int,
        n_classes: int = 1,
        binary: bool = False,
        min_scale: float = 1e-3,
        kernel: KernelName = "auto",
    ) -> None:
        check_positive(radius=radius)
        places = places_before(image_shape, radius)
        super().__init__(places.shape[1], out_features, min_scale=min_scale, kernel=kernel)
        self.radius, self.binary = radius, binary
        self.register_buffer("places", places, persistent=False)
        # About as much as one of N components contributes at its mean.
        start = torch.randn(n_classes, out_features) - math.log(places.shape[1]) - _LOG_SQRT_2PI
        self.start = nn.Parameter(start)

    def forward(self, x: Tensor, y: Tensor, chosen: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Return the log-scores at the chosen pixels: (batch, D) to (batch, P, M).

        Args:
            x: Pixels, finite.
            y: Labels, (batch,).
            chosen: Numbers of pixels, (P,), int64; None for all.

        Raises:
            IndexError: If a label is out of range.
        """
        places = self.places if chosen is None else self.places[chosen]
        inside = (places < x.shape[1]).to(x.dtype)
        weights = self.logits.log_softmax(-1)
        smallest = torch.finfo(x.dtype).tiny
        kept = inside @ weights.exp().t()  # (P, M)
        # A pixel that sees nothing has sums of 0; divided by almost 0, gradients would be NaN.
        kept = kept.where(kept > smallest, 1)
        start = rows_of(self.start, y).unsqueeze(1)
        if self.binary:
            # What is below the smallest number would be -inf, of which no gradient comes.
            seen = self._binary_sums(x, places, weights) / kept
            return (start.exp() + seen).clamp(min=smallest).log()
        patches = F.pad(x, (0, 1), value=FAR)[:, places]
        return torch.logaddexp(start, self._score(patches, self.logits) - kept.log())

    def _binary_sums(self, x: Tensor, places: Tensor, log_weights: Tensor) -> Tensor:
        """Return the sums over components that look inside, of binary pixels: (batch, P, M)."""
        level = log_weights - self.log_scale - _LOG_SQRT_2PI
        zeros, ones = (
            (level - 0.5 * ((value - self.loc) / self.scale).square()).exp() for value in (0, 1)
        )
        is_which = torch.cat([F.pad(1 - x, (0, 1)), F.pad(x, (0, 1))], 1)
        seen = is_which[:, torch.cat([places, places + x.shape[1] + 1], 1)]
        return seen @ torch.cat([zeros, ones], 1).t()

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Spread the neurons as the pixels are spread; see `UGMM.init_from`.

        Binary pixels are always spread over 0 and 1, and scales begin so small that these are
        told apart. (With scales of 0.6, short runs on binarised MNIST ended 0.9 nats worse.)

        Args:
            x: Rows of pixels, (batch, D). What lies outside of the image does not count.
        """
        if self.binary:
            self.loc.normal_(0.5, 0.4)
            self._set_scale(torch.full_like(self.loc, 0.25))
            self.logits.zero_()
            return
        outside = self.places == x.shape[1]
        seen = F.pad(x, (0, 1))[:, self.places].masked_fill(outside, math.nan).flatten(0, 1)
        mean = seen.nanmean(0)
        spread = (seen - mean).square().nanmean(0).sqrt()
        # What no pixel sees from inside may start anywhere.
        self._spread_as(mean.nan_to_num(0.0), spread.nan_to_num(1.0))

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{super().extra_repr()}, radius={self.radius}, binary={self.binary}"
