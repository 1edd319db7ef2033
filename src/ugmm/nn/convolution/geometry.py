"""Where a convolution looks: the windows of an image, and how they are put back."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, SupportsIndex

import torch
from torch import Tensor

__all__ = ["Padding", "Windows", "find_padding", "find_pair", "find_sizes"]

Padding = tuple[tuple[int, int], tuple[int, int]]


class Windows(NamedTuple):
    """The windows of a two-dimensional convolution; all are (along the height, the width)."""

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    def places(self, height: int, width: int) -> tuple[int, int]:
        """Return how many places there are in an image that has been padded.

        Raises:
            ValueError: If it is smaller than a window.
        """
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.size, strict=True)]
        if height < spans[0] or width < spans[1]:
            raise ValueError(
                f"an image of {height} x {width}, padded, is smaller than a kernel, which spans "
                f"{spans[0]} x {spans[1]}"
            )
        down, across = self.stride
        return (height - spans[0]) // down + 1, (width - spans[1]) // across + 1

    def unfold(self, x: Tensor) -> Tensor:
        """Copy what each place sees: (B, C, H, W) to (B * H' * W', C * kh * kw)."""
        (kh, kw), (sh, sw), (dh, dw) = self
        seen = x.unfold(2, dh * (kh - 1) + 1, sh).unfold(3, dw * (kw - 1) + 1, sw)
        seen = seen[..., ::dh, ::dw].permute(0, 2, 3, 1, 4, 5)
        return seen.flatten(3).flatten(0, 2)

    def fold(self, patches: Tensor, shape: Sequence[int]) -> Tensor:
        """Add patches up where they lie in images of a shape: the transpose of `unfold`.

        Args:
            patches: (B * H' * W', C * kh * kw).
            shape: (B, C, H, W).
        """
        batch, channels, height, width = shape
        (kh, kw), (sh, sw), (dh, dw) = self
        rows, columns = self.places(height, width)
        seen = patches.view(batch, rows, columns, channels, kh, kw)
        images = patches.new_zeros(batch, height, width, channels)
        for i in range(kh):
            down = slice(i * dh, i * dh + (rows - 1) * sh + 1, sh)
            for j in range(kw):
                across = slice(j * dw, j * dw + (columns - 1) * sw + 1, sw)
                images[:, down, across] += seen[..., i, j]
        return images.permute(0, 3, 1, 2)

    def inside(
        self, sizes: Sequence[int], padding: Padding, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Return which offsets look inside, by rows (H', kh) and by columns (W', kw).

        Args:
            sizes: Height and width of an image before it is padded.
            padding: What is added to it.
            device: Where the results live.
        """
        padded = (n + sum(p) for n, p in zip(sizes, padding, strict=True))
        found = []
        for axis, places in enumerate(self.places(*padded)):
            first = torch.arange(places, device=device) * self.stride[axis]
            offset = torch.arange(self.size[axis], device=device) * self.dilation[axis]
            at = first.unsqueeze(1) + offset - padding[axis][0]
            found.append((at >= 0) & (at < sizes[axis]))
        return found[0], found[1]


def find_sizes(name: str, value: int | Sequence[int], n: int, least: int = 1) -> tuple[int, ...]:
    """Return a number for each of n dimensions.

    Raises:
        ValueError: If it is not one whole number or n of them, or one is too small.
    """
    each = tuple(value) if isinstance(value, Iterable) else (value,) * n
    sizes = tuple(operator.index(one) for one in each if isinstance(one, SupportsIndex))
    if not len(each) == len(sizes) == n or min(sizes) < least:
        numbers = "a number" if n == 1 else f"a number, or {n} of them,"
        raise ValueError(f"{name} must be {numbers} of at least {least}, got {value!r}")
    return sizes


def find_pair(name: str, value: int | Sequence[int], n: int, alone: int, least: int = 1) -> Any:
    """The same for a height and a width, of which the height is `alone` in one dimension."""
    sizes = find_sizes(name, value, n, least)
    return (alone, *sizes) if n == 1 else sizes


def find_padding(padding: int | str | Sequence[int], n: int, windows: Windows) -> Padding:
    """Return what is added before and after each dimension, as torch.nn's convolutions have it.

    Raises:
        ValueError: If there is no such padding, or a stride and "same".
    """
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"padding must be numbers, 'same' or 'valid', got {padding!r}")
        if padding == "valid":
            return (0, 0), (0, 0)
        if max(windows.stride) > 1:
            raise ValueError("padding='same' needs a stride of 1")
        height, width = (d * (k - 1) for d, k in zip(windows.dilation, windows.size, strict=True))
        return (height // 2, height - height // 2), (width // 2, width - width // 2)
    height, width = find_pair("padding", padding, n, alone=0, least=0)
    return (height, height), (width, width)
