"""Test images turned, and with pixels that are not known."""

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate as scipy_rotate

from ugmm.data.images import observed_pixels, rotated


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
