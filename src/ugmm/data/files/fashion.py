"""Fashion-MNIST's test images: foreign to a network that has learned digits."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ugmm.data.files.cache import FetchError, Source, cache_folder, fetch_files, read_verified
from ugmm.data.files.idx import decode_idx
from ugmm.data.files.mnist import TEST_IMAGES, from_mirror, list_mirrors, unpack
from ugmm.spec import unit_pixels

__all__ = ["fetch_fashion", "read_fashion"]

DIGESTS = {TEST_IMAGES: "8181f5470baa50b63fa0f6fddb340f0a"}
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def fetch_fashion() -> None:
    """See to it that the cache holds the images: from a Debian package or torchvision's mirrors.

    Raises:
        UserError: If neither gives them, or the cache cannot be written.
    """
    fetch_files(cache_folder("fashion-mnist"), DIGESTS, _sources())


def read_fashion() -> Tensor:
    """Read the images from the cache, as MNIST's are served: (10000, 784), pixels in [0, 1].

    Raises:
        UserError: If the file is missing or damaged.
    """
    path = cache_folder("fashion-mnist") / TEST_IMAGES
    pixels = decode_idx(read_verified(path, DIGESTS[TEST_IMAGES]), str(path))
    return torch.from_numpy(unit_pixels(pixels.reshape(len(pixels), -1)))


def _sources() -> Iterator[Source]:
    yield Source(f"Debian's {DEBIAN_PACKAGE}", _from_debian)
    for mirror in list_mirrors("FashionMNIST"):
        yield Source(mirror, partial(from_mirror, mirror))


def _from_debian(names: list[str], scratch: Path) -> Iterator[tuple[str, bytes]]:
    del scratch
    for name in names:
        try:
            packed = (DEBIAN_FOLDER / f"{name}.gz").read_bytes()
        except OSError as error:
            raise FetchError(f"not installed (apt-get install {DEBIAN_PACKAGE})") from error
        yield name, unpack(packed)
