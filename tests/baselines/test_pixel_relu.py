"""The density of images by ReLU layers, against a loop over pixels and a sum over all images."""

import itertools

import pytest
import torch

from ugmm.baselines import PixelReLU


def make(**settings):
    torch.manual_seed(0)
    network = PixelReLU(9, 2, (6, 5), 1, **settings).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network


def test_probabilities_of_all_binary_images_sum_to_one():
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64)
    total = make(neighbours=1).class_scores(images).exp().sum()
    torch.testing.assert_close(total.item(), 1.0, rtol=0, atol=1e-12)


def test_features_are_those_of_affine_maps_of_what_is_before():
    network, x, y = make(), torch.rand(4, 9).double().round(), torch.tensor([0, 1, 1, 0])
    padded = torch.nn.functional.pad(2 * x.view(4, 3, 3) - 1, (1, 1, 1, 1))
    first, second = network.layers
    found = network.features(x, y)
    for d in range(9):
        i, j = divmod(d, 3)
        seen = padded[:, i : i + 2, j : j + 3].flatten(1)[:, :4]  # the line above, and the left
        h = network.norms[0]((first(seen) + network.start[y]).relu())
        expected = network.norms[1](second(h).relu())
        torch.testing.assert_close(found[:, d], expected)
    some = torch.tensor([2, 7])
    torch.testing.assert_close(network.features(x, y, some), found[:, some])


def test_bad_arguments():
    with pytest.raises(ValueError, match="radius must be at least 1"):
        PixelReLU(9, radius=0)
    with pytest.raises(ValueError, match="head must be 'bernoulli' or 'levels'"):
        PixelReLU(9, head="gaussian")
