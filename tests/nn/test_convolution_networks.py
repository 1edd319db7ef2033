"""Networks of convolutions: their stages, their widths, and their experiments."""

import pytest
import torch
from torch import nn

from ugmm.baselines import CNN
from ugmm.config.compose import compose
from ugmm.errors import UserError
from ugmm.nn import LogMeanExpPool2d, UGMMConv2d, UGMMConvNetwork, UGMMResidualBlock2d


@pytest.mark.parametrize("pooling", ["none", "max", "avg", "logmeanexp"])
@pytest.mark.parametrize("residual", [0, 1])
@pytest.mark.parametrize("kind", [UGMMConvNetwork, CNN])
def test_the_head_sees_all_that_is_left(kind, pooling, residual):
    network = kind(
        2 * 9 * 7, 5, (3, 4), (5, 2), (2, 1), (2, 9, 7), pooling=pooling, residual=residual
    )
    left = network.blocks(torch.rand(2, 2, 9, 7))
    assert left.flatten(1).shape == (2, network.n_left)
    assert network(torch.rand(3, 2, 126)).shape == (3, 2, 5)


def test_a_pixel_is_where_it_is_in_the_image():
    torch.manual_seed(0)
    network = UGMMConvNetwork(6 * 5, 3, (2,), (3,), (1,), (6, 5), norm="layer").eval()
    x = torch.rand(1, 30)
    moved = x.clone()
    moved[0, 2 * 5 + 3] += 1  # row 2, column 3
    before, after = (network.blocks(each.view(1, 1, 6, 5)) for each in (x, moved))
    changed = (before != after).any(1)[0].nonzero()
    assert changed.amin(0).tolist() == [1, 2]
    assert changed.amax(0).tolist() == [3, 4]


def test_both_kinds_have_the_same_widths():
    mixture, linear = compose("mnist_conv").model, compose("mnist_conv_cnn").model
    networks = [model.build(784, 10) for model in (mixture, linear)]
    assert networks[0].stages == networks[1].stages
    neurons = sum(m.loc.numel() for m in networks[0].modules() if isinstance(m, UGMMConv2d))
    weights = sum(m.weight.numel() for m in networks[1].modules() if isinstance(m, nn.Conv2d))
    assert neurons == weights
    fashion = compose("fashion_conv").model, compose("fashion_conv_cnn").model
    assert fashion == (mixture, linear)


def test_data_reach_every_convolution():
    torch.manual_seed(0)
    network = UGMMConvNetwork(64, 3, (4, 6), (3, 3), (2, 1), residual=1, init="data")
    x = 5 + 3 * torch.randn(200, 64)
    network.init_from(x)
    first, *later = (m for m in network.modules() if isinstance(m, UGMMConv2d))
    assert first.loc.mean().item() == pytest.approx(5, abs=1.5)
    assert first.scale.mean().item() == pytest.approx(3, rel=0.1)
    for layer in later:  # of normalised scores, and sums of two such
        assert 0.5 < layer.scale.mean().item() < 2


@pytest.mark.parametrize("init", ["unit", "data"])
def test_neurons_begin_as_wide_as_is_asked_for(init):
    x, scales = torch.rand(50, 64), []
    for widen in (1.0, 3.0):
        torch.manual_seed(0)
        network = UGMMConvNetwork(64, 3, (4,), (3,), (2,), residual=1, init=init, widen=widen)
        if init == "data":
            network.init_from(x)
        scales.append([m.scale for m in network.modules() if isinstance(m, UGMMConv2d)])
    torch.testing.assert_close(scales[1][0], 3 * scales[0][0])
    assert 2.5 < (scales[1][1] / scales[0][1]).mean() < 3.5  # of other inputs


def test_scales_near_their_floor_begin_where_the_data_puts_them():
    torch.manual_seed(0)
    network = UGMMConvNetwork(64, 3, (4,), (3,), (2,), init="data", min_scale=0.2)
    network.init_from(0.1 * torch.rand(50, 64))  # of a spread of 0.03
    first = next(m for m in network.modules() if isinstance(m, UGMMConv2d))
    assert 0.2 < first.scale.max().item() < 0.205


def test_wide_neurons_are_linear_in_what_they_do_not_share():
    torch.manual_seed(0)
    network = UGMMConvNetwork(64, 3, (4,), (3,), (1,), widen=50.0).double()
    conv, x = network.blocks[0], torch.rand(2, 1, 8, 8, dtype=torch.float64)
    scores = conv(x)[..., 1:-1, 1:-1]
    linear = nn.functional.conv2d(x, conv.loc.view(4, 1, 3, 3)) / (9 * 50.0**2)
    shared = linear - conv.loc.square().mean(1)[:, None, None] / (2 * 50.0**2)
    found, expected = (each - each.mean(1, keepdim=True) for each in (scores, shared))
    torch.testing.assert_close(found, expected, rtol=0.01, atol=1e-7)


def test_a_residual_block_adds_to_its_input():
    torch.manual_seed(0)
    block = UGMMResidualBlock2d(3, 3, norm="none", min_scale=0.1)
    x = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(block(x), x + block.conv(x))


def test_it_compiles_and_is_exported():
    torch.manual_seed(0)
    network = UGMMConvNetwork(36, 3, (4, 5), (3, 3), (1, 2), residual=1, pooling="logmeanexp")
    x = torch.rand(4, 36)
    expected = network(x)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network.eval(), (x,), dynamic_shapes={"x": {0: batch}})
    torch.testing.assert_close(program.module()(x[:3]), network(x[:3]))


def test_pooling_by_its_name():
    network = UGMMConvNetwork(64, 3, (4,), (3,), (1,), pooling="logmeanexp")
    assert any(isinstance(module, LogMeanExpPool2d) for module in network.modules())
    with pytest.raises(ValueError, match="pooling must be 'none', 'max', 'avg', 'logmeanexp'"):
        UGMMConvNetwork(64, 3, (4,), (3,), (1,), pooling="some")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"channels": (4, 5)}, "must be as many, one for each stage"),
        ({"image_shape": (3, 3)}, r"image_shape=\[3, 3\] does not fit rows of 16 features"),
        ({"pooling": "max", "strides": (4,)}, "pooling leaves nothing of an image"),
        ({"strides": (0,)}, "strides must be at least 1, got 0"),
        ({"kernel_sizes": (0,)}, "kernel_sizes must be at least 1, got 0"),
        ({"init": "paper"}, "init must be 'unit' or 'data', got 'paper'"),
        ({"widen": 0.0}, "widen must be positive and finite, got 0"),
        ({"norm": "some"}, "norm must be 'none', 'layer', 'batch', 'centred'"),
        ({"dropout": (0.1, 0.2)}, "dropout has 2 rates for 1 layers"),
    ],
)
def test_bad_arguments_of_a_network(options, complaint):
    stages = {"channels": (4,), "kernel_sizes": (3,), "strides": (1,)}
    with pytest.raises(ValueError, match=complaint):
        UGMMConvNetwork(16, 3, **{**stages, **options})


def test_a_cnn_needs_channels():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        CNN(16, 3, channels=(0,), kernel_sizes=(3,), strides=(1,))


def test_stages_that_do_not_fit_are_told_in_the_configuration():
    with pytest.raises(UserError, match=r"model\.channels=\[8\].* must be as many"):
        compose("mnist_conv", ["model.channels=[8]"])
