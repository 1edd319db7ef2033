"""The data module of MNIST: splits, pixels, shifts and noise of what is trained on."""

import numpy as np
import pytest
import torch

from ugmm.data import MNISTDataModule, TabularDataModule
from ugmm.errors import UserError


def test_mnist_is_split_and_scaled(small_mnist):
    module = MNISTDataModule(val_size=10)
    module.prepare_data()
    module.setup()
    sizes = {name: len(split.y) for name, split in module.splits.items()}
    assert sizes == {"train": 30, "val": 10, "test": 12}
    assert module.splits["val"].y.tolist() == list(range(10))  # the last rows
    x = module.splits["train"].x
    assert (x.shape, x.dtype) == ((30, 784), torch.float32)
    assert (x.min(), x.max()) == (0.0, 1.0)
    raw = np.frombuffer((small_mnist / "train-images-idx3-ubyte").read_bytes(), np.uint8)[16:]
    np.testing.assert_allclose(x.flatten(), raw[: x.numel()] / 255, rtol=1e-6)
    assert module.log_jacobian == 0.0


def test_the_first_rows_train_where_fewer_are_wanted(small_mnist):
    whole, few = (MNISTDataModule(val_size=10, train_size=size) for size in (None, 7))
    for module in (whole, few):
        module.setup()
    assert torch.equal(few.splits["train"].x, whole.splits["train"].x[:7])
    assert torch.equal(few.splits["val"].x, whole.splits["val"].x)
    assert len(few.splits["test"].x) == 12
    with pytest.raises(UserError, match=r"data\.train_size=55001"):
        MNISTDataModule(train_size=55_001)


def test_mnist_shifts_training_images_only(small_mnist):
    module = MNISTDataModule(val_size=10, max_shift=2, batch_size=40)
    module.setup()
    ((x, y),) = module.train_dataloader()
    assert x.shape == (30, 784)
    assert sorted(y.tolist()) == sorted(module.splits["train"].y.tolist())
    assert len(torch.cat([x, module.splits["train"].x]).unique(dim=0)) > 50
    ((x, _),) = module.test_dataloader()
    assert torch.equal(x, module.splits["test"].x)


def test_training_features_have_noise_and_no_others(small_mnist):
    quiet, noisy = (
        MNISTDataModule(val_size=10, batch_size=40, max_shift=1, noise=noise)
        for noise in (0.0, 0.25)
    )
    for module in (quiet, noisy):
        module.setup()
    ((shifted, y),), ((x, again),) = (module.train_dataloader() for module in (quiet, noisy))
    assert y.equal(again)
    assert (x - shifted).std() == pytest.approx(0.25, rel=0.03)
    ((x, _),) = noisy.val_dataloader()
    assert torch.equal(x, quiet.splits["val"].x)
    table = TabularDataModule("iris", noise=0.1)
    table.setup()
    ((x, y),) = table.train_dataloader()
    own = table.splits["train"]
    assert torch.cdist(x, own.x).amin(1).max() < 1
    assert not (x[:, None] == own.x).all(-1).any()


def test_mnist_arguments_are_checked():
    with pytest.raises(UserError, match=r"data\.noise=-1"):
        MNISTDataModule(noise=-1)
    with pytest.raises(UserError, match=r"data\.noise needs grey pixels"):
        MNISTDataModule(noise=0.1, binarize=0)
    with pytest.raises(UserError, match=r"data\.val_size=60000"):
        MNISTDataModule(val_size=60_000)
    with pytest.raises(UserError, match=r"data\.max_shift=-1"):
        MNISTDataModule(max_shift=-1)
    with pytest.raises(UserError, match=r"data\.binarize=-1"):
        MNISTDataModule(binarize=-1)


def test_mnist_that_is_not_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"prepare_data\(\) first.*UGMM_DATA_DIR") as caught:
        MNISTDataModule().setup()
    assert "\n" not in str(caught.value)


def test_mnist_takes_its_own_images(small_mnist):
    raw = np.frombuffer((small_mnist / "t10k-images-idx3-ubyte").read_bytes(), np.uint8)[16:]
    for binarize in (None, 3):
        module = MNISTDataModule(val_size=10, binarize=binarize)
        module.setup()
        assert module.spec.binary == (binarize is not None)
        x = module.spec.encode(raw.reshape(-1, 28, 28))
        served = module.splits["test"].x.numpy()
        np.testing.assert_array_equal(module.spec.encode(served), served)
        if binarize is None:
            np.testing.assert_array_equal(x, served)
