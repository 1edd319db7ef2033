"""The Transformer over patches: what its tokens are, and the choice of each part."""

import pytest
import torch
from torch import nn

from ugmm.nn import UGMM, VisionTransformer
from ugmm.nn.attention.vision import _patches


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 6)])
def test_a_token_is_a_patch(shape):
    channels, height, width = shape
    images = torch.randn(2, *shape)
    found = _patches(images, 2)
    columns = width // 2
    assert found.shape == (2, height // 2 * columns, channels * 4)
    for i in range(found.shape[1]):
        line, column = 2 * (i // columns), 2 * (i % columns)
        expected = images[:, :, line : line + 2, column : column + 2]
        assert torch.equal(found[:, i], expected.flatten(1))
    theirs = nn.functional.unfold(images, 2, stride=2).transpose(1, 2)
    assert torch.equal(found, theirs)


def test_the_standard_network_is_made_of_torchs_layers():
    torch.manual_seed(0)
    network = VisionTransformer(64, 3, None, 4, 8, 2, 2, 12, feed_forward="linear")
    layers = []
    for layer in network.layers:
        theirs = nn.TransformerEncoderLayer(
            8, 2, 12, 0.0, activation="gelu", batch_first=True, norm_first=True
        )
        values = dict(layer.named_parameters())
        state = {
            "self_attn.in_proj_weight": values["self_attn.in_proj.weight"],
            "self_attn.in_proj_bias": values["self_attn.in_proj.bias"],
            **{f"linear1.{n}": values[f"feed_forward.0.{n}"] for n in ("weight", "bias")},
            **{f"linear2.{n}": values[f"feed_forward.3.{n}"] for n in ("weight", "bias")},
        }
        rest = {name: value for name, value in values.items() if name in theirs.state_dict()}
        theirs.load_state_dict(rest | state)
        layers.append(theirs)
    x = torch.randn(5, 64)
    patches = nn.functional.unfold(x.view(5, 1, 8, 8), 4, stride=4).transpose(1, 2)
    tokens = nn.Sequential(*layers)(network.embedding(patches) + network.places)
    torch.testing.assert_close(network(x), network.head(network.norm(tokens.mean(1))))


def test_each_part_can_be_of_neurons():
    parts = {"embedding": 1, "feed_forward": 4, "qkv": 2, "out": 2, "head": 1}
    for name, layers in parts.items():
        kinds = {"feed_forward": "linear"} | {name: "mixture" if name == "head" else "ugmm"}
        network = VisionTransformer(784, 10, min_scale=0.3, **kinds)
        neurons = [module for module in network.modules() if isinstance(module, UGMM)]
        assert len(neurons) == layers, name
        assert all(layer.min_scale == 0.3 for layer in neurons)


def test_tokens_start_with_a_spread_of_about_one():
    torch.manual_seed(0)
    network = VisionTransformer(784, 10, embedding="ugmm")
    tokens = network.embedding(_patches(torch.rand(50, 1, 28, 28), 7))
    assert tokens.std(-1).mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"patch": 5}, "images of 28 x 28 pixels are not made of patches of 5 x 5"),
        ({"patch": 0}, "patch must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"nhead": 3}, "32 features cannot be parted among 3 heads"),
        ({"image_shape": [5, 5]}, "image_shape"),
        ({"embedding": "x"}, "embedding must be 'linear' or 'ugmm', got 'x'"),
        ({"head": "x"}, "head must be"),
    ],
)
def test_bad_arguments(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        VisionTransformer(784, 10, **options)


def test_it_compiles_and_is_exported():
    torch.manual_seed(0)
    network = VisionTransformer(
        64, 3, None, 4, 8, 1, 2, 12, score="gaussian", qkv="ugmm", embedding="ugmm", head="gain"
    ).eval()
    x = torch.randn(5, 64)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))
    program = torch.export.export(network, (x,))
    torch.testing.assert_close(program.module()(x), network(x))
