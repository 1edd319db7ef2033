"""A small MNIST in place of the real one."""

import hashlib

import numpy as np
import pytest

from ugmm.data.files import (
    mnist as mnist_files,  # before a test imports lightning: see ugmm._torchvision
)
from ugmm.data.files.idx import encode_idx

TRAIN_ROWS, TEST_ROWS = 40, 12


@pytest.fixture(scope="session")
def arrays():
    """Training images and labels, test images and labels."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (TRAIN_ROWS, 28, 28), dtype=np.uint8)
    test = rng.integers(0, 256, (TEST_ROWS, 28, 28), dtype=np.uint8)
    labels = np.arange(TRAIN_ROWS + TEST_ROWS, dtype=np.uint8) % 10
    return train, labels[:TRAIN_ROWS], test, labels[TRAIN_ROWS:]


@pytest.fixture
def files(arrays):
    """The contents of the four IDX files, by name."""
    return dict(zip(mnist_files.DIGESTS, map(encode_idx, arrays), strict=True))


@pytest.fixture
def digests(files):
    return {name: hashlib.md5(payload).hexdigest() for name, payload in files.items()}


@pytest.fixture
def small_mnist(files, digests, tmp_path, monkeypatch):
    """The small files in a cache of their own; its folder."""
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(mnist_files, "DIGESTS", digests)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, payload in files.items():
        (folder / name).write_bytes(payload)
    return folder
