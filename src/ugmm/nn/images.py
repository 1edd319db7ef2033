"""Rows that are images: networks take features (..., N), and look at them as (..., C, H, W)."""

import math
from collections.abc import Sequence

from torch import Tensor

from ugmm.nn.checks import check_floats

__all__ = ["as_images", "find_image_shape"]


def find_image_shape(n_features: int, shape: Sequence[int] | None = None) -> tuple[int, int, int]:
    """Return channels, height and width of images that are rows of so many features.

    Args:
        n_features: N.
        shape: (C, H, W); or (H, W) of grey ones; None for grey and square ones.

    Raises:
        ValueError: If they cannot be images of that shape.
    """
    if shape is None:
        side = math.isqrt(n_features)
        if side * side != n_features:
            raise ValueError(
                f"rows of {n_features} features are no square images: name image_shape, such as "
                "[height, width] or [channels, height, width]"
            )
        return 1, side, side
    if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape={list(shape)} does not fit rows of {n_features} features: it must be "
            "[height, width] or [channels, height, width], whose product is their number"
        )
    channels, height, width = (1, *shape)[-3:]
    return channels, height, width


def as_images(x: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, tuple[int, ...]]:
    """Return rows (..., C * H * W) as a batch of images (B, C, H, W), and their leading sizes.

    Raises:
        TypeError: If x is no tensor of floating-point numbers.
        ValueError: If its rows are no such images.
    """
    check_floats(x=x)
    if x.dim() == 0 or x.shape[-1] != math.prod(shape):
        raise ValueError(
            f"x {tuple(x.shape)} must end with the {math.prod(shape)} pixels of {shape}"
        )
    return x.reshape(-1, *shape), tuple(x.shape[:-1])
