"""Random changes of training images."""

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

__all__ = ["RandomShift"]


class RandomShift:
    """Moves each image by up to so many pixels along both axes; what is uncovered is zero.

    In NumPy, like the copy of rows in `ugmm.data.batches`, and for the reason given there.

    Args:
        pixels: The furthest that an image moves along an axis; every whole shift is as likely.
        image_shape: Height and width, whose product is the number of features.
    """

    def __init__(self, pixels: int, image_shape: tuple[int, int]) -> None:
        self.pixels = pixels
        self.image_shape = image_shape

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Draw where each image's window begins in its padded image: (rows, 2), whole numbers."""
        return torch.randint(2 * self.pixels + 1, (rows, 2), generator=generator)

    def __call__(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Shift images (B, H * W) to the windows that begin at `numbers` (B, 2): (B, H * W)."""
        (height, width), p = self.image_shape, self.pixels
        padded = np.zeros((len(x), height + 2 * p, width + 2 * p), np.float32)
        padded[:, p : p + height, p : p + width] = x.numpy().reshape(-1, height, width)
        # All windows of all images as a view, (B, 2 p + 1, 2 p + 1, H, W); one of each is copied.
        windows = sliding_window_view(padded, (height, width), axis=(1, 2))
        row, column = numbers.numpy().T
        chosen = windows[np.arange(len(x)), row, column]
        return torch.from_numpy(chosen.reshape(len(x), -1))
