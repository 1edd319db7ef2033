"""Fashion-MNIST: where its files come from, and what is served of them."""

import gzip

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from ugmm.data import FashionMNISTDataModule, MNISTDataModule
from ugmm.data.files import fashion
from ugmm.errors import UserError


@pytest.fixture
def packaged(files, digests, monkeypatch, tmp_path):
    """The small files in a folder like the Debian package's, and an empty cache; its folder."""
    folder = tmp_path / "debian"
    folder.mkdir()
    for name, payload in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(payload))
    monkeypatch.setattr(fashion, "DIGESTS", digests)
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", folder)
    monkeypatch.setattr(fashion, "list_mirrors", lambda _: [])
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    return tmp_path / "fashion-mnist"


def test_the_images_come_from_the_debian_package(packaged, arrays):
    fashion.fetch_fashion()
    for served, expected in zip(
        [array for pair in fashion.read_fashion().values() for array in pair], arrays, strict=True
    ):
        np.testing.assert_array_equal(served, expected)


def test_what_one_source_lacks_comes_from_the_next(packaged, files, monkeypatch):
    missing = fashion.DEBIAN_FOLDER / f"{fashion.TRAIN_LABELS}.gz"
    packed = missing.read_bytes()
    missing.unlink()
    asked = []

    def from_mirror(mirror, names, scratch):
        for name in names:
            asked.append((mirror, name))
            yield name, gzip.decompress(packed) if name == fashion.TRAIN_LABELS else files[name]

    monkeypatch.setattr(fashion, "list_mirrors", lambda name: [f"mirror of {name}"])
    monkeypatch.setattr(fashion, "from_mirror", from_mirror)
    fashion.fetch_fashion()
    assert ("mirror of FashionMNIST", fashion.TRAIN_LABELS) in asked
    assert ("mirror of FashionMNIST", fashion.TRAIN_IMAGES) not in asked


def test_without_any_source_the_remedy_is_named(packaged, monkeypatch, tmp_path):
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "nowhere")
    with pytest.raises(UserError, match="apt-get install dataset-fashion-mnist"):
        fashion.fetch_fashion()


def test_a_damaged_file_is_refused(packaged):
    fashion.DEBIAN_FOLDER.joinpath(f"{fashion.TEST_IMAGES}.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="damaged file"):
        fashion.fetch_fashion()


def test_they_are_fetched_for_digits_only_if_asked_for(small_mnist, packaged):
    MNISTDataModule(val_size=10).prepare_data()
    assert not packaged.exists()
    MNISTDataModule(val_size=10, robustness=True).prepare_data()
    assert (packaged / fashion.TEST_IMAGES).is_file()


def test_the_data_set_is_split_and_scaled_as_the_digits_are(packaged, small_mnist):
    clothes, digits = FashionMNISTDataModule(val_size=10), MNISTDataModule(val_size=10)
    for module in (clothes, digits):
        module.prepare_data()
        module.setup()
    for name, split in digits.splits.items():
        torch.testing.assert_close(clothes.splits[name].x, split.x, rtol=0, atol=0)
        assert clothes.splits[name].y.equal(split.y)
    assert clothes.spec.image_shape == (28, 28)
    assert clothes.spec.class_names == tuple(FashionMNIST.classes)


def test_its_options_are_those_of_the_digits(packaged):
    module = FashionMNISTDataModule(val_size=10, max_shift=2, binarize=3, batch_size=30)
    module.prepare_data()
    module.setup()
    ((x, _),) = module.train_dataloader()
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert not {tuple(row) for row in x.tolist()} <= {
        tuple(row) for row in module.splits["train"].x.tolist()
    }
    with pytest.raises(UserError, match=r"data\.val_size=60000"):
        FashionMNISTDataModule(val_size=60_000)
