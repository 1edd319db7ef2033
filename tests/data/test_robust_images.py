"""Shifted test images, and the foreign ones: where they come from, and what they hold."""

import gzip
import hashlib

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate as scipy_rotate

from ugmm.data import MNISTDataModule
from ugmm.data.files import fashion
from ugmm.data.files.idx import encode_idx
from ugmm.data.images import observed_pixels, rotated
from ugmm.errors import UserError


def test_a_quarter_turn_moves_pixels_and_nothing_else():
    images = torch.rand(3, 784)
    expected = torch.rot90(images.reshape(3, 28, 28), 1, (1, 2)).reshape(3, 784)
    torch.testing.assert_close(rotated(images, (28, 28), 90), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("degrees", [15, 30, 60])
def test_turned_like_scipy_turns(degrees):
    row, column = np.mgrid[:28, :28]
    smooth = np.exp(-((row - 11) ** 2 / 20 + (column - 16) ** 2 / 40)).astype(np.float32)
    turned = rotated(torch.from_numpy(smooth.reshape(1, -1)), (28, 28), degrees)
    expected = scipy_rotate(smooth, degrees, reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(turned.reshape(28, 28).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("missing", [0.25, 0.9])
def test_each_row_misses_as_many_pixels_and_others_than_its_neighbour(missing):
    observed = observed_pixels(torch.zeros(50, 784), missing, seed=3)
    assert set(observed.sum(1).tolist()) == {784 - round(784 * missing)}
    assert not observed[0].equal(observed[1])
    assert 0.6 * (1 - missing) < observed.float().mean(0).mean() < 1.4 * (1 - missing)
    assert observed.equal(observed_pixels(torch.zeros(50, 784), missing, seed=3))


@pytest.fixture
def clothes(monkeypatch, tmp_path):
    """Six images in a folder like Debian's, and an empty cache; the pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    payload = encode_idx(pixels)
    folder = tmp_path / "debian"
    folder.mkdir()
    (folder / f"{fashion.TEST_IMAGES}.gz").write_bytes(gzip.compress(payload))
    digests = {fashion.TEST_IMAGES: hashlib.md5(payload).hexdigest()}
    monkeypatch.setattr(fashion, "DIGESTS", digests)
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", folder)
    monkeypatch.setattr(fashion, "list_mirrors", lambda _: [])
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    return pixels


def test_clothes_come_from_the_debian_package(clothes):
    fashion.fetch_fashion()
    images = fashion.read_fashion()
    np.testing.assert_allclose(images.numpy(), clothes.reshape(6, 784) / 255, rtol=1e-6)


def test_without_any_source_the_remedy_is_named(clothes, monkeypatch, tmp_path):
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "nowhere")
    with pytest.raises(UserError, match="apt-get install dataset-fashion-mnist"):
        fashion.fetch_fashion()


def test_a_damaged_file_is_refused(clothes):
    fashion.DEBIAN_FOLDER.joinpath(f"{fashion.TEST_IMAGES}.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="damaged file"):
        fashion.fetch_fashion()


def test_they_are_fetched_only_if_asked_for(small_mnist, clothes, monkeypatch, tmp_path):
    monkeypatch.setenv("UGMM_DATA_DIR", str(small_mnist.parent))
    MNISTDataModule(val_size=10).prepare_data()
    assert not (small_mnist.parent / "fashion-mnist").exists()
    MNISTDataModule(val_size=10, robustness=True).prepare_data()
    assert (small_mnist.parent / "fashion-mnist" / fashion.TEST_IMAGES).is_file()
