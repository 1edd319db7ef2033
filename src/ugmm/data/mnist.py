"""MNIST and the sets in its format: 70,000 grey images of 28 by 28 pixels, 10 classes."""

from abc import abstractmethod
from dataclasses import replace

import numpy as np
import torch

from ugmm.data.files.fashion import fetch_fashion, read_fashion
from ugmm.data.files.mnist import fetch_mnist, read_mnist
from ugmm.data.images import RandomShift
from ugmm.data.module import InMemoryDataModule, Split, SplitName, check_range
from ugmm.errors import UserError
from ugmm.spec import Spec, unit_pixels

__all__ = ["FashionMNISTDataModule", "GreyImageDataModule", "MNISTDataModule", "image_rows"]

_TRAIN_ROWS = 60_000


class GreyImageDataModule(InMemoryDataModule):
    """Images as rows of 784 pixels in [0, 1], fetched once into the user's cache.

    The last `val_size` rows of the 60,000 training images are the validation split, whatever
    the seed, so that runs can be compared; the 10,000 test images are the test split.

    Args:
        batch_size: Rows of a batch.
        seed: Decides the order of the training rows, the shifts and the noise.
        val_size: Rows held out for validation. With 0 there is no validation split: all 60,000
            train, and no validation loop runs.
        train_size: How many of the rest train, the first of the file; None: all.
        max_shift: Training images are moved at random by up to so many pixels along each axis.
        binarize: None leaves pixels grey. A seed makes each 1 with a probability of its grey
            level, else 0, drawn once: the training images in the order of their file (whatever
            `val_size`), then the test images, so `seed` changes nothing here. This is the
            stochastic binarisation behind the published figures of Larochelle and Murray's NADE
            (2011) and what followed it, though not the same draw.
        noise: Standard deviation of Gaussian noise on training pixels, after the shift; what
            leaves [0, 1] is left there. Grey pixels only.

    Raises:
        UserError: If an argument is out of range.
    """

    n_features = 784
    n_classes = 10
    image_shape = (28, 28)

    def __init__(
        self,
        *,
        batch_size: int = 256,
        seed: int = 0,
        val_size: int = 5000,
        train_size: int | None = None,
        max_shift: int = 0,
        binarize: int | None = None,
        noise: float = 0.0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, noise=noise)
        check_range("val_size", val_size, 0, _TRAIN_ROWS - 1)
        if train_size is not None:
            check_range("train_size", train_size, 1, _TRAIN_ROWS - val_size)
        check_range("max_shift", max_shift, 0, max(self.image_shape) - 1)
        if binarize is not None:
            check_range("binarize", binarize, 0, 2**32 - 1)
            if noise:
                raise UserError("data.noise needs grey pixels; set data.binarize=null")
        self.val_size, self.train_size = val_size, train_size
        self.max_shift, self.binarize = max_shift, binarize
        if max_shift:
            self.augmentations.insert(0, RandomShift(max_shift, self.image_shape))

    @abstractmethod
    def read(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Read the cache: images (n, 28, 28) and labels (n,), uint8, of "train" and "test".

        Raises:
            UserError: If a file is missing or damaged.
        """

    def describe_rows(self) -> Spec:
        """Return what an image is."""
        return replace(super().describe_rows(), binary=self.binarize is not None)

    def load(self) -> dict[SplitName, Split]:
        """Read the cache; pixels become float32 once, so that a batch is only a copy of rows."""
        arrays = self.read()
        train, test = image_rows(*arrays["train"]), image_rows(*arrays["test"])
        if self.binarize is not None:
            generator = torch.Generator().manual_seed(self.binarize)
            train, test = (
                Split(torch.bernoulli(x, generator=generator), y) for x, y in (train, test)
            )
        cut = len(train.x) - self.val_size
        return {
            "train": Split(train.x[:cut][: self.train_size], train.y[:cut][: self.train_size]),
            "val": Split(train.x[cut:], train.y[cut:]),
            "test": test,
        }


class MNISTDataModule(GreyImageDataModule):
    """MNIST's handwritten digits.

    Args:
        batch_size: See `GreyImageDataModule`, for the others too.
        seed: Of the order, the shifts and the noise.
        val_size: Rows held out for validation.
        train_size: How many rows train.
        max_shift: Pixels that a training image is moved by, at most.
        binarize: The seed of black-or-white pixels.
        noise: Standard deviation of the noise on training pixels.
        robustness: Fetch what `ugmm.training.robustness` tests on beside the digits, too.

    Raises:
        UserError: If an argument is out of range.
    """

    class_names = tuple("0123456789")

    def __init__(
        self,
        *,
        batch_size: int = 256,
        seed: int = 0,
        val_size: int = 5000,
        train_size: int | None = None,
        max_shift: int = 0,
        binarize: int | None = None,
        noise: float = 0.0,
        robustness: bool = False,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            val_size=val_size,
            train_size=train_size,
            max_shift=max_shift,
            binarize=binarize,
            noise=noise,
        )
        self.robustness = robustness

    def prepare_data(self) -> None:
        """Fetch what the cache lacks. Lightning calls this on one process of each node.

        Raises:
            UserError: If it cannot be fetched.
        """
        fetch_mnist()
        if self.robustness:
            fetch_fashion()

    def read(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Read the digits and what they are."""
        return read_mnist()


class FashionMNISTDataModule(GreyImageDataModule):
    """Fashion-MNIST: photographs of clothes, shoes and bags, harder to tell apart than digits.

    Reference:
        H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.
    """

    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )

    def prepare_data(self) -> None:
        """Fetch what the cache lacks. Lightning calls this on one process of each node.

        Raises:
            UserError: If it cannot be fetched.
        """
        fetch_fashion()

    def read(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Read the images and what they show."""
        return read_fashion()


def image_rows(images: np.ndarray, labels: np.ndarray) -> Split:
    """Flatten and scale images (n, 28, 28) of uint8."""
    x = unit_pixels(images.reshape(len(images), -1))
    return Split(torch.from_numpy(x), torch.from_numpy(labels.astype(np.int64)))
