"""Pooling over places, and norms between layers of a convolutional network."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from ugmm.nn import CentredBatchNorm2d, LogMeanExpPool2d
from ugmm.nn.convolution.norms import make_image_norm

sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sizes, st.none() | sizes, st.tuples(st.integers(0, 1), st.integers(0, 1)))
def test_it_is_the_logarithm_of_average_pooling_of_densities(kernel, stride, padding):
    assume(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)))
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    mean = nn.AvgPool2d(kernel, stride, padding, count_include_pad=False)
    pool = LogMeanExpPool2d(kernel, stride, padding)
    torch.testing.assert_close(pool(x), mean(x.exp()).log())
    torch.testing.assert_close(pool(x[0]), mean(x[0].exp()).log())


def test_densities_beyond_all_numbers():
    x = torch.full((1, 1, 4, 4), -1e4, dtype=torch.float64, requires_grad=True)
    scores = LogMeanExpPool2d(2)(x)
    torch.testing.assert_close(scores, torch.full((1, 1, 2, 2), -1e4).double())
    scores.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((1, 1, 4, 4), 0.25).double())


def test_its_derivatives():
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    pool = LogMeanExpPool2d(3, 2, 1)
    assert torch.autograd.gradcheck(pool, (x,))
    assert torch.autograd.gradgradcheck(pool, (x,))


def test_bad_arguments_of_pooling():
    with pytest.raises(ValueError, match=r"at most half of kernel_size=\(2, 2\), got \(2, 2\)"):
        LogMeanExpPool2d(2, padding=2)
    with pytest.raises(ValueError, match="kernel_size must be"):
        LogMeanExpPool2d(0)
    with pytest.raises(ValueError, match=r"x must be \(B, C, H, W\)"):
        LogMeanExpPool2d(2)(torch.zeros(4))


def test_centred_batch_norm_does_not_see_what_all_channels_share():
    torch.manual_seed(0)
    norm, x = CentredBatchNorm2d(3), torch.randn(8, 3, 4, 4)
    shared = 10 * torch.randn(8, 1, 4, 4)
    found = norm(x)
    torch.testing.assert_close(norm(x + shared), found, rtol=1e-4, atol=1e-5)
    centred = x - x.mean(1, keepdim=True)
    mean, std = centred.mean((0, 2, 3)), centred.std((0, 2, 3), correction=0)
    expected = (centred - mean[:, None, None]) / (std[:, None, None].square() + 1e-5).sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_norms_by_their_names():
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(16, 5, 6, 6)
    assert torch.equal(make_image_norm("none", 5, None, None)(x), x)
    layer = make_image_norm("layer", 5, None, None)(x)
    torch.testing.assert_close(layer.mean(1), torch.zeros(16, 6, 6), rtol=0, atol=1e-5)
    for name in ("batch", "centred"):
        found = make_image_norm(name, 5, None, None)(x)
        torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
        assert math.isclose(found.var().item(), 1.0, rel_tol=0.01)
    with pytest.raises(ValueError, match="norm must be 'none', 'layer', 'batch', 'centred'"):
        make_image_norm("some", 5, None, None)


@pytest.mark.parametrize("norm", ["layer", "centred"])
def test_one_channel_says_nothing_beside_itself(norm):
    with pytest.raises(ValueError, match="needs two channels or more, got 1"):
        make_image_norm(norm, 1, None, None)
    assert make_image_norm("batch", 1, None, None)(torch.randn(2, 1, 3, 3)).std() > 0
