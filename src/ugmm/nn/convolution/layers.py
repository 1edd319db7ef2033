"""Layers whose neurons look at a window each, the same ones at every place."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ugmm.kernels import KernelName
from ugmm.kernels.problem import check_known, widened
from ugmm.nn.checks import check_floats, check_tensors
from ugmm.nn.convolution.geometry import Padding, Windows, find_padding, find_pair, find_sizes
from ugmm.nn.convolution.scores import NOTHING, Options, Parameters, patch_scores
from ugmm.nn.mixture import UGMM
from ugmm.nn.mixture.dropping import dropped

__all__ = ["PaddingMode", "UGMMConv1d", "UGMMConv2d"]

PaddingMode = Literal["drop", "zeros", "reflect"]
_OUTSIDE = 1e9  # so far from any mean that a component which looks at it has no density


class _UGMMConv(UGMM):
    """A convolution in one or two dimensions, the former as an image of height 1.

    To what it inherits, an input is a window: C / groups * kh * kw values in this order.
    """

    dimensions: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "drop",
        dropout: float = 0.0,
        min_scale: float = 1e-3,
        init: Literal["unit", "paper"] = "unit",
        loc_std: float = 1.0,
        kernel: KernelName = "auto",
        input_dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        if padding_mode not in ("drop", "zeros", "reflect"):
            raise ValueError(
                f"padding_mode must be 'drop', 'zeros' or 'reflect', got {padding_mode!r}"
            )
        n = self.dimensions
        windows = Windows(
            find_pair("kernel_size", kernel_size, n, alone=1),
            find_pair("stride", stride, n, alone=1),
            find_pair("dilation", dilation, n, alone=1),
        )
        at_edges = find_padding(padding, n, windows)
        super().__init__(
            in_channels // groups * math.prod(windows.size),
            out_channels,
            dropout=dropout,
            min_scale=min_scale,
            init=init,
            loc_std=loc_std,
            kernel=kernel,
            input_dropout=input_dropout,
            device=device,
            dtype=dtype,
        )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self._channels_each, self._neurons_each = in_channels // groups, out_channels // groups
        self.kernel_size, self.stride, self.dilation = (each[-n:] for each in windows)
        self.padding = (
            padding if isinstance(padding, str) else find_sizes("padding", padding, n, 0)
        )
        self.padding_mode = padding_mode
        self._windows, self._padding = windows, at_edges

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-scores of a batch of images, or of one: (B, C, ...) to (B, M, ...)."""
        if not self.training:
            return self._at_places(x, self.logits)
        known = None
        if self.input_dropout > 0:
            check_tensors(x=x)
            rows = x.flatten(-self.dimensions - 1)
            known = ~dropped(rows, self.input_dropout).view(x.shape)
        return self._at_places(x, self.masked_logits(), known)

    def marginal_score(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return the log-scores where some values are unknown, without dropout.

        Args:
            x: Images, (B, C, ...) or (C, ...); the values of unknown ones are ignored.
            observed: True where a value is known, of the same shape; see `UGMM.marginal_score`.
        """
        check_tensors(x=x, observed=observed)
        check_known(observed, x)
        return self._at_places(x, self.logits, observed)

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Spread the neurons as what they see is spread; see `UGMM.init_from`.

        Args:
            x: A batch of images, (B, C, ...), with at least one. Where padding is dropped, what
                lies outside does not count.
        """
        images = self._as_images(x)
        check_floats(x=x)
        if len(images) == 0:
            raise ValueError("expected a batch of images, got none")
        padded = self._padded(images, math.nan)
        means, spreads = [], []
        for part in padded.chunk(self.groups, 1):
            seen = self._windows.unfold(part)
            mean = seen.nanmean(0)
            means.append(mean)
            spreads.append((seen - mean).square().nanmean(0).sqrt())
        # What no place sees from inside may start anywhere.
        mean, spread = (
            torch.stack(each).nan_to_num(default).repeat_interleave(self._neurons_each, 0)
            for each, default in ((means, 0.0), (spreads, 1.0))
        )
        self._spread_as(mean, spread)

    def _at_places(self, x: Tensor, logits: Tensor, known: Tensor | None = None) -> Tensor:
        images = self._as_images(x)
        check_floats(x=x)
        padded = self._padded(images, min(_OUTSIDE, torch.finfo(x.dtype).max))
        mask = None
        if known is not None:
            mask = self._padded(self._as_images(known).to(x.dtype), 0.0, zero=1.0) > 0
        log_kept = None
        if mask is None and self.padding_mode == "drop" and _pads(self._padding):
            log_kept = self._log_kept(logits, images.shape[2:])
        parts = [self._of_group(g, padded, logits, mask, log_kept) for g in range(self.groups)]
        scores = parts[0] if self.groups == 1 else torch.cat(parts, -1)
        scores = scores.permute(0, 3, 1, 2)
        if self.dimensions == 1:
            scores = scores.squeeze(2)
        return scores.squeeze(0) if x.dim() == self.dimensions + 1 else scores

    def _of_group(
        self, g: int, x: Tensor, logits: Tensor, known: Tensor | None, log_kept: Tensor | None
    ) -> Tensor:
        """Return the log-scores of a group's neurons at every place, (B, H', W', M / groups)."""
        parameters: Parameters = (self.loc, self.raw_scale, logits)
        if self.groups == 1:
            ready = self._prepared if logits is self.logits else None
            options = Options(self._windows, self.min_scale, self.kernel, ready)
            return patch_scores(x, parameters, options, known, log_kept)
        channels = slice(g * self._channels_each, (g + 1) * self._channels_each)
        neurons = slice(g * self._neurons_each, (g + 1) * self._neurons_each)
        return patch_scores(
            x[:, channels],
            (self.loc[neurons], self.raw_scale[neurons], logits[neurons]),
            Options(self._windows, self.min_scale, self.kernel),
            None if known is None else known[:, channels],
            None if log_kept is None else log_kept[..., neurons],
        )

    def _log_kept(self, logits: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return the log-sum of the weights that look inside at each place, (H', W', M)."""
        wide = widened(logits)
        weights = wide.clamp(min=NOTHING).log_softmax(-1)
        weights = weights.unflatten(1, (-1, *self._windows.size)).logsumexp(1)
        rows, columns = self._windows.inside(sizes, self._padding, logits.device)
        kept = torch.where(rows[:, None, :, None], weights, NOTHING).logsumexp(2)
        return torch.where(columns[:, None, :], kept.unsqueeze(1), NOTHING).logsumexp(-1)

    def _padded(self, images: Tensor, outside: float, zero: float = 0.0) -> Tensor:
        """Return images with their padding, and what stands for dropped padding or for zeros."""
        if not _pads(self._padding):
            return images
        (top, bottom), (left, right) = self._padding
        amounts = (left, right, top, bottom)
        if self.padding_mode != "reflect":
            value = outside if self.padding_mode == "drop" else zero
            return F.pad(images, amounts, value=value)
        return F.pad(images, amounts, mode="reflect")

    def _as_images(self, x: Tensor) -> Tensor:
        """Return a batch of images (B, C, H, W); in one dimension their height is 1."""
        check_tensors(x=x)
        n, channels = self.dimensions, self.in_channels
        if x.dim() not in (n + 1, n + 2) or x.shape[-n - 1] != channels:
            sizes = "L" if n == 1 else "H, W"
            raise ValueError(
                f"x must be (B, {channels}, {sizes}) or ({channels}, {sizes}), "
                f"not {tuple(x.shape)}"
            )
        x = x if x.dim() == n + 2 else x.unsqueeze(0)
        return x.unsqueeze(2) if n == 1 else x

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}, padding={self.padding!r}, dilation={self.dilation}"
        text += f", groups={self.groups}" * (self.groups > 1)
        _, _, rest = super().extra_repr().split(", ", 2)
        return f"{text}, padding_mode={self.padding_mode!r}, {rest}"


def _pads(padding: Padding) -> bool:
    return any(side for sides in padding for side in sides)


class UGMMConv1d(_UGMMConv):
    r"""A convolution over sequences: :class:`UGMMConv2d` with one dimension.

    Arguments:
        in_channels: As there, and so are all others; sizes are numbers, or tuples of one.

    Shapes:
        input (B, C, L) or (C, L), output (B, M, L') or (M, L') as of `torch.nn.Conv1d`.
    """

    dimensions = 1


class UGMMConv2d(_UGMMConv):
    r"""A convolution of mixture neurons: each looks at a window of an image, at every place.

    Neuron :math:`j` at place :math:`p` has one component for each channel and offset; with the
    places' strides, dilations and groups as those of `torch.nn.Conv2d`,

    .. math::
        s_j(p) = \log \sum_{c, d} \pi_{j c d} \,
            \mathcal{N}(x_{c, p + d}; \mu_{j c d}, \sigma_{j c d}^2)

    With ``padding_mode="drop"`` components that look outside the image are left out and the other
    weights are renormalised: what is outside is not known, and summed out exactly. A neuron that
    knows nothing has the score 0. There is no bias: weights sum to one, and a constant added to a
    score would say nothing.

    Images are unfolded a few at a time, and again in backward, so that no tensor of all patches
    is kept; see `ugmm.nn.convolution.scores` for when.

    Reference:
        Ali, Z. S., arXiv:2509.07569, has the neurons, and names convolutions as future work.

    Arguments:
        in_channels: C, the channels of an image.
        out_channels: M, the number of neurons.
        kernel_size: Height and width of a window, or one number for both.
        stride: Steps between places.
        padding: How far places reach beyond the edges; ``"same"`` keeps the size, ``"valid"`` is
            0.
        dilation: Steps between the values that a neuron looks at.
        groups: Into how many parts channels and neurons are split, each part on its own.
        padding_mode: What lies outside: ``"drop"``, nothing is known of it; ``"zeros"``;
            ``"reflect"``, the image mirrored in its edge.
        dropout: Probability that a component is dropped; see :class:`ugmm.nn.UGMM`. The mask is
            the same at every place.
        min_scale: Floor under every scale.
        init: As of `ugmm.nn.UGMM`; see :meth:`init_from` too.
        loc_std: The means are drawn from N(0, loc_std^2).
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        input_dropout: Probability that a value of an image, in one channel, is dropped.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (B, C, H, W) or (C, H, W), output (B, M, H', W') or (M, H', W') as of
        `torch.nn.Conv2d`, channels last in memory; ``loc``, ``raw_scale`` and ``logits`` are
        (M, C / groups * kh * kw).

    Raises:
        ValueError: If an argument is out of its range.
    """

    dimensions = 2
