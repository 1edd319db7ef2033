"""MNIST in black and white: Bernoulli draws of the grey levels, by a seed of their own."""

import torch

from ugmm.data import MNISTDataModule
from ugmm.nn.checks import check_levels


def binarized(binarize, **options):
    module = MNISTDataModule(binarize=binarize, **options)
    module.setup()
    return module.splits


def test_mnist_is_binarised_once_by_its_own_seed(small_mnist):
    splits = binarized(5, val_size=10)
    grey = MNISTDataModule(val_size=10)
    grey.setup()
    for name, split in splits.items():
        assert split.x.dtype == torch.float32
        assert set(split.x.unique().tolist()) == {0.0, 1.0}
        level = grey.splits[name].x
        assert (split.x[level == 0] == 0).all()
        assert (split.x[level == 1] == 1).all()
        # The mean of n draws, within 4 standard deviations at most.
        bound = 4 * 0.5 / split.x.numel() ** 0.5
        assert abs((split.x - level).mean()) < bound
        assert abs(split.x[(level > 0.2) & (level < 0.3)].mean() - 0.25) < 5 * bound
    again = binarized(5, val_size=0, seed=9)
    assert torch.equal(again["train"].x, torch.cat([splits["train"].x, splits["val"].x]))
    assert torch.equal(again["test"].x, splits["test"].x)
    assert not torch.equal(binarized(6, val_size=0)["train"].x, again["train"].x)
    assert not torch.equal(splits["train"].x[:12], splits["test"].x)


def test_grey_pixels_are_256_levels_shifted_or_not(small_mnist):
    module = MNISTDataModule(val_size=10, batch_size=8, max_shift=2)
    module.setup()
    for split in module.splits.values():
        check_levels(split.x, 256)
    for x, _ in module.train_dataloader():
        check_levels(x, 256)
        level = x * 255
        assert (level - level.round()).abs().max() < 1e-4
