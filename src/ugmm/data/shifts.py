"""Test images that are not like the training images: turned, or known in part only."""

import ugmm._torchvision  # noqa: F401  (before torchvision: see the module)

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

__all__ = ["observed_pixels", "rotated"]


def rotated(x: Tensor, image_shape: tuple[int, int], degrees: float) -> Tensor:
    """Turn images counterclockwise about their centres; corners that come into view are 0.

    Args:
        x: Images as rows, (n, H * W).
        image_shape: H and W.
        degrees: The angle. Pixels are interpolated bilinearly.
    """
    images = x.reshape(-1, 1, *image_shape)
    return rotate(images, degrees, InterpolationMode.BILINEAR).reshape(x.shape)


def observed_pixels(x: Tensor, missing: float, seed: int) -> Tensor:
    """Draw which pixels are known, for each image by itself: True for known, of the shape of `x`.

    Args:
        x: Images as rows, (n, pixels).
        missing: The share of each row's pixels that is not known; the same number in each row.
        seed: Of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(x.shape, generator=generator).argsort(-1)
    return order >= round(missing * x.shape[-1])
