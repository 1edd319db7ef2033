"""Class scores from a network's last features."""

import math

import pytest
import torch
from torch import nn

from ugmm.functional import mixture_log_score
from ugmm.nn import UGMM
from ugmm.nn.heads import Gain, make_head
from ugmm.nn.images import as_images, find_image_shape


def test_a_gain_multiplies_the_scores_of_neurons():
    head = make_head("gain", 9, 4, min_scale=0.2, dtype=torch.float64)
    neurons, gain = head
    x = torch.randn(5, 9, dtype=torch.float64)
    raw = mixture_log_score(x, neurons.loc, neurons.log_scale, neurons.logits)
    torch.testing.assert_close(head(x), 3 * raw)
    with torch.no_grad():
        gain.log_gain.fill_(math.log(7))
    torch.testing.assert_close(head(x), 7 * raw)
    gain.reset_parameters()
    torch.testing.assert_close(head(x), 3 * raw)


@pytest.mark.parametrize(("name", "kind"), [("mixture", UGMM), ("linear", nn.Linear)])
def test_a_head_is_one_layer(name, kind):
    head = make_head(name, 9, 4)
    assert type(head) is kind
    assert head(torch.randn(2, 3, 9)).shape == (2, 3, 4)


def test_a_gain_spreads_scores_that_start_nearly_equal():
    torch.manual_seed(0)
    x = torch.randn(200, 1024)
    spreads = [make_head(name, 1024, 10)(x).std(-1).mean().item() for name in ("mixture", "gain")]
    assert spreads[0] < 0.05
    assert 0.2 < spreads[1] < 2


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="head must be 'mixture', 'gain' or 'linear', got 'x'"):
        make_head("x", 9, 4)


def test_gain_says_where_it_begins():
    assert repr(Gain(32.0)) == "Gain(start=32)"


@pytest.mark.parametrize(
    ("n", "shape", "found"),
    [(784, None, (1, 28, 28)), (6, [2, 3], (1, 2, 3)), (24, (3, 2, 4), (3, 2, 4))],
)
def test_rows_are_images(n, shape, found):
    shape = find_image_shape(n, shape)
    assert shape == found
    x = torch.arange(2.0 * 5 * n).reshape(2, 5, n)
    images, leading = as_images(x, shape)
    assert images.shape == (10, *found)
    assert leading == (2, 5)
    torch.testing.assert_close(images.reshape(x.shape), x)


@pytest.mark.parametrize(("n", "shape"), [(8, None), (8, [3, 3]), (8, [8]), (8, [-2, -4])])
def test_rows_that_are_no_images_are_refused(n, shape):
    with pytest.raises(ValueError, match="image_shape"):
        find_image_shape(n, shape)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="784 pixels"):
        as_images(torch.zeros(3, 5), (1, 28, 28))
    with pytest.raises(TypeError, match=r"torch\.Tensor"):
        as_images([[0.0]], (1, 1, 1))
    with pytest.raises(TypeError, match=r"not torch\.uint8: convert it by x\.float\(\)"):
        as_images(torch.zeros(3, 4, dtype=torch.uint8), (1, 2, 2))
