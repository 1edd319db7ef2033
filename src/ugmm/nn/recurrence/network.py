"""Networks that read an image line by line."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.classifier import Classifier
from ugmm.nn.heads import Head, make_head
from ugmm.nn.images import as_images, find_image_shape
from ugmm.nn.recurrence.layer import UGMMRNN

__all__ = ["LineReader", "Pool", "UGMMRecurrentNetwork"]

Pool = Literal["last", "mean"]


class LineReader(Classifier):
    """Reads an image as a sequence of its lines, and scores classes by the states it is left in.

    Arguments:
        n_features: Number of pixels.
        image_shape: (H, W) or (C, H, W) of the image; by default it is grey and square. A line is
            the W pixels of every channel.
        pool: What is scored: ``"last"``, the last layer's states after the last line, of a reader
            from below after the first; or ``"mean"``, the mean of its states after every line.

    Attributes:
        line_size: Pixels of a line, of all channels.
        rnn: Reads the lines, as `torch.nn.GRU` does, with the step as the first dimension.
        head: Makes class scores of its states.

    Shapes:
        input (..., n_features), output (..., classes).

    Raises:
        ValueError: If an argument is out of its range, or pixels and shape do not fit.
    """

    rnn: nn.Module
    head: nn.Module

    def __init__(self, n_features: int, image_shape: Sequence[int] | None, pool: Pool) -> None:
        super().__init__()
        if pool not in ("last", "mean"):
            raise ValueError(f"pool must be 'last' or 'mean', got {pool!r}")
        self.image_shape = channels, _, width = find_image_shape(n_features, image_shape)
        self.line_size = channels * width
        self.pool = pool

    def lines(self, x: Tensor) -> Tensor:
        """Return rows (..., n_features) as images line by line: (H, images, line_size)."""
        images, _ = as_images(x, self.image_shape)
        return images.permute(2, 0, 1, 3).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores: (..., n_features) to (..., classes)."""
        outputs, final = self.rnn(self.lines(x))
        if self.pool == "mean":
            states = outputs.mean(0)
        else:
            directions = outputs.shape[-1] // final.shape[-1]
            states = torch.cat(list(final[-directions:]), -1)
        scores = self.head(states)
        return scores.reshape(*x.shape[:-1], scores.shape[-1])

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its parts describe themselves."""
        return f"image_shape={self.image_shape}, pool={self.pool!r}"


class UGMMRecurrentNetwork(LineReader):
    """Mixture neurons that read an image line by line: `UGMMRNN` and a head.

    Arguments:
        n_features: Number of pixels.
        n_classes: Number of classes.
        hidden_size: States of a layer, in each direction.
        num_layers: How many layers there are.
        bidirectional: Whether lines are read from above and from below.
        dropout: Probability that a state is dropped on its way to the next layer.
        pool: ``"last"`` or ``"mean"``; see `LineReader`.
        head: What makes scores of states; see :func:`ugmm.nn.heads.make_head`.
        image_shape: (H, W) or (C, H, W) of the image; by default it is grey and square.
        gate_bias: What the gates' shift starts as; see `UGMMCell`.
        min_scale: Floor under every scale.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., n_features), output (..., n_classes).

    Raises:
        ValueError: If an argument is out of its range, or pixels and shape do not fit.
    """

    rnn: UGMMRNN

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pool: Pool = "last",
        head: Head = "linear",
        image_shape: Sequence[int] | None = None,
        gate_bias: float = 1.0,
        min_scale: float = 0.2,
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(n_features, image_shape, pool)
        self.rnn = UGMMRNN(
            self.line_size,
            hidden_size,
            num_layers,
            dropout=dropout,
            bidirectional=bidirectional,
            min_scale=min_scale,
            gate_bias=gate_bias,
            kernel=kernel,
            device=device,
            dtype=dtype,
        )
        width = hidden_size * self.rnn.num_directions
        self.head = make_head(head, width, n_classes, min_scale, kernel, device, dtype)
