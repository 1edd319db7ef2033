"""The density of images by a masked convolution: normalised by construction, exact in one pass."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ugmm.kernels import KernelName
from ugmm.nn.autoregressive.heads import Head, make_head
from ugmm.nn.autoregressive.layers import LayeredDensity
from ugmm.nn.images import find_image_shape
from ugmm.nn.pixels.masked import MaskedUGMM

__all__ = ["PixelUGMM", "image_head"]


class PixelUGMM(LayeredDensity):
    r"""A density of grey images and labels: each pixel given those before it that are near it.

    .. math::
        p(x, y) = p(y) \prod_d p(x_d \mid x_k, \, k \text{ before and near } d; \, y)

    Pixels are numbered line by line. The first layer is a masked convolution of mixture neurons,
    `MaskedUGMM`: the same neurons at every pixel, which see the r lines above it and what is to
    its left, so far. More layers may follow, of neurons that see one pixel's scores each (windows
    of 1 by 1), with a LayerNorm before each; so what a pixel depends on does not grow. A head
    makes a distribution of the scores, for binary pixels and for grey levels those of
    `AutoregressiveUGMM`, which needs scores of a whole prefix where this network needs a window's.
    As neurons are the same at every pixel, weights of the head that pixels share are added to
    those of each pixel's own: they are learned from every pixel. So are those of neighbours, which
    pixels share only.

    As windows are finite, a training step may look at some pixels only; see `positions`.

    Arguments:
        n_features: D, the number of pixels.
        n_classes: Number of classes; 1 where there is no label.
        hidden: Widths of the layers, beginning with the masked convolution.
        radius: r, how far off, in lines and columns, a neuron sees.
        head: The distribution of a pixel: ``"bernoulli"``, or ``"levels"``, a mixture of
            discretised logistics.
        components: How many these are.
        levels: How many grey levels there are.
        neighbours: How far off the pixels of the head's linear term may be; 0 for none.
        image_shape: Height and width; None for square images.
        positions: In training, how many pixels' conditionals are computed at each step. They are
            drawn at random and their sum is scaled up, so that the loss is right on average. None
            computes all.
        min_scale: Floor under every scale of the neurons.
        kernel: See :func:`ugmm.functional.mixture_log_score`.

    Shapes:
        pixels (..., D), labels (...), results (...).

    Raises:
        ValueError: If a size is not positive, pixels and shape do not fit, or there is no such
            head.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int = 1,
        hidden: Sequence[int] = (128,),
        radius: int = 5,
        head: Literal["bernoulli", "levels"] = "bernoulli",
        components: int = 8,
        levels: int = 256,
        neighbours: int = 0,
        image_shape: Sequence[int] | None = None,
        positions: int | None = None,
        min_scale: float = 0.1,
        kernel: KernelName = "auto",
    ) -> None:
        super().__init__(n_features, n_classes, positions)
        shape, made = image_head(
            n_features, hidden, head, components, levels, neighbours, image_shape
        )
        self.masked = MaskedUGMM(
            shape, radius, hidden[0], n_classes, made.levels == 2, min_scale, kernel
        )
        self._add_layers(hidden, min_scale, kernel)
        self.read_by(made)

    def features(
        self,
        x: Tensor,
        y: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Return the scores that the head reads: (batch, D or P, hidden[-1]).

        Args:
            x: Pixels, (batch, D).
            y: Labels, (batch,).
            chosen: Numbers of the pixels asked for, (P,), int64; None for all.
            order: None: what is near a pixel and before it is so in one order only.

        Raises:
            ValueError: If there is an order.
        """
        if order is not None:
            raise ValueError("pixels are in one order only: that of lines")
        return self._after_first(self.masked(x, y, chosen))

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit the initial parameters of all layers, too.

        Args:
            x: (batch, D).
            y: (batch,), or None to leave p(y) as it is.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If a pixel is between the levels.
        """
        super().init_from(x, y)
        labels = torch.zeros(len(x), dtype=torch.long, device=x.device) if y is None else y
        self.masked.init_from(x)
        if self.layers:
            self._init_after_first(self.masked(x, labels))


def image_head(
    n_features: int,
    hidden: Sequence[int],
    head: Literal["bernoulli", "levels"],
    components: int,
    levels: int,
    neighbours: int,
    image_shape: Sequence[int] | None,
) -> tuple[tuple[int, int], Head]:
    """Return height and width of images, and the head that reads layers of these widths.

    Raises:
        ValueError: If there is no layer, pixels and shape do not fit, or there is no such head.
    """
    if not hidden:
        raise ValueError("there must be at least one hidden width")
    if head not in ("bernoulli", "levels"):
        raise ValueError(f"head must be 'bernoulli' or 'levels', got {head!r}")
    channels, height, width = find_image_shape(n_features, image_shape)
    if channels != 1:
        raise ValueError("pixels are those of grey images, of one channel")
    made = make_head(
        head,
        n_features,
        hidden[-1],
        components=components,
        levels=levels,
        neighbours=neighbours,
        image_shape=image_shape,
        shared=True,
    )
    return (height, width), made
