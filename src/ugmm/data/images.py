"""Changes of images: random ones in training, and those that robustness is tested on."""

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

__all__ = ["CORRUPTIONS", "RandomShift", "corrupted", "observed_pixels", "rotated"]

CORRUPTIONS = ("noisy", "blurred", "faint", "hidden")


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


def rotated(x: Tensor, image_shape: tuple[int, int], degrees: float) -> Tensor:
    """Turn images counterclockwise about their centres; corners that come into view are 0.

    Args:
        x: Images as rows, (n, H * W).
        image_shape: H and W.
        degrees: The angle. Pixels are interpolated bilinearly.
    """
    import ugmm._torchvision  # noqa: F401  (before torchvision: see the module)

    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import rotate

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


def corrupted(x: Tensor, image_shape: tuple[int, int], kind: str, seed: int) -> Tensor:
    """Spoil images, in the manner of MNIST-C (N. Mu and J. Gilmer, arXiv:1906.02337).

    Args:
        x: Images as rows of pixels in [0, 1], (n, H * W).
        image_shape: H and W.
        kind: ``"noisy"``, with Gaussian noise of standard deviation 0.3 on each pixel;
            ``"blurred"``, by a Gaussian of 1.5 pixels; ``"faint"``, at 0.3 of their contrast; or
            ``"hidden"`` where a square of 10 by 10 pixels, anywhere, is 0.
        seed: Of what is random in it.

    Raises:
        ValueError: If there is no such kind.
    """
    generator = torch.Generator().manual_seed(seed)
    if kind == "noisy":
        return (x + 0.3 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    if kind == "blurred":
        import ugmm._torchvision  # noqa: F401  (before torchvision: see the module)

        from torchvision.transforms.functional import gaussian_blur

        images = x.reshape(-1, 1, *image_shape)
        return gaussian_blur(images, [9, 9], [1.5, 1.5]).reshape(x.shape)
    if kind == "faint":
        return 0.3 * x
    if kind != "hidden":
        raise ValueError(f"kind must be one of {', '.join(CORRUPTIONS)}, got {kind!r}")
    corners = [torch.randint(size - 9, (len(x), 1), generator=generator) for size in image_shape]
    rows, columns = (
        (first <= (at := torch.arange(size))) & (at < first + 10)
        for first, size in zip(corners, image_shape, strict=True)
    )
    square = (rows[:, :, None] & columns[:, None, :]).reshape(x.shape)
    return x.masked_fill(square, 0.0)
