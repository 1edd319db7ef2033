"""Pooling of log-scores: a mixture over places."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ugmm.nn.checks import check_floats
from ugmm.nn.convolution.geometry import Windows, find_pair

__all__ = ["LogMeanExpPool2d"]


class LogMeanExpPool2d(nn.Module):
    r"""Logarithm of the mean density over windows: a mixture over places with equal weights.

    .. math::
        y(p) = \log \frac{1}{|W_p|} \sum_{q \in W_p} e^{x_q}

    It lies between the mean of the scores and the largest of them. What a window covers beyond
    the edges is not counted.

    Reference:
        B. Lowe and others, *LogAvgExp provides a principled and performant global pooling
        operator*, arXiv:2111.01742.

    Arguments:
        kernel_size: Height and width of a window, or one number for both.
        stride: Steps between windows; as large as they are if None.
        padding: How far windows reach beyond the edges, at most half their size.

    Shapes:
        input (B, C, H, W) or (C, H, W), output of the sizes that `torch.nn.AvgPool2d` has.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
    ) -> None:
        super().__init__()
        size = find_pair("kernel_size", kernel_size, 2, 1)
        steps = size if stride is None else find_pair("stride", stride, 2, 1)
        self.kernel_size, self.stride = size, steps
        self.padding = find_pair("padding", padding, 2, 0, least=0)
        if any(2 * p > k for p, k in zip(self.padding, size, strict=True)):
            raise ValueError(
                f"padding must be at most half of kernel_size={size}, got {self.padding}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-mean of each window."""
        check_floats(x=x)
        if x.dim() not in (3, 4):
            raise ValueError(f"x must be (B, C, H, W) or (C, H, W), not {tuple(x.shape)}")
        (height, width), (down, across) = self.padding, self.stride
        padded = F.pad(x, (width, width, height, height), value=-math.inf)
        windows = Windows(self.kernel_size, self.stride, (1, 1))
        windows.places(*padded.shape[-2:])
        seen = padded.unfold(-2, self.kernel_size[0], down).unfold(-2, self.kernel_size[1], across)
        padding = (height, height), (width, width)
        rows, columns = windows.inside(x.shape[-2:], padding, x.device)
        count = rows.sum(-1, keepdim=True) * columns.sum(-1)
        return seen.logsumexp((-2, -1)) - count.to(x.dtype).log()

    def extra_repr(self) -> str:
        """Describe the pooling in `repr`."""
        text = f"kernel_size={self.kernel_size}, stride={self.stride}"
        return f"{text}, padding={self.padding}"
