"""Fashion-MNIST's four files: where they come from, and reading them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ugmm.data.files.cache import FetchError, Source, cache_folder, fetch_files
from ugmm.data.files.mnist import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    from_mirror,
    list_mirrors,
    read_images,
    unpack,
)

__all__ = ["fetch_fashion", "read_fashion"]

DIGESTS = {
    TRAIN_IMAGES: "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    TRAIN_LABELS: "9018921c3c673c538a1fc5bad174d6f9",
    TEST_IMAGES: "8181f5470baa50b63fa0f6fddb340f0a",
    TEST_LABELS: "15d484375f8d13e6eb1aabb0c3f46965",
}
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def fetch_fashion() -> None:
    """See to it that the cache holds the files: from a Debian package or torchvision's mirrors.

    Raises:
        UserError: If neither gives them, or the cache cannot be written.
    """
    fetch_files(cache_folder("fashion-mnist"), DIGESTS, _sources())


def read_fashion() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the images and their labels from the cache; see `ugmm.data.files.mnist.read_images`."""
    return read_images(cache_folder("fashion-mnist"), DIGESTS)


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
