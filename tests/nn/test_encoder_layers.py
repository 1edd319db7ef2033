"""The encoder's layer as any other: shapes, graphs, types, states, and torch's stacks of it."""

import copy
import io
import math

import pytest
import torch
from attention_layers import (
    KINDS,
    MASKS,
    B,
    E,
    H,
    S,
    added,
    build,
    causal,
    each_kind,
    padding,
    tokens,
)
from torch import nn

from ugmm.nn import UGMM, SelfAttention, UGMMEncoderLayer


@each_kind
@pytest.mark.parametrize("norm_first", [True, False])
def test_shapes(kind, norm_first):
    layer = build(kind, norm_first=norm_first)
    x = tokens(B, S)
    expected = layer(x)
    assert expected.shape == x.shape
    for row in range(B):
        torch.testing.assert_close(layer(x[row]), expected[row])
    layer.self_attn.batch_first = False
    torch.testing.assert_close(layer(x.transpose(0, 1)), expected.transpose(0, 1))
    assert layer(tokens(S, 0)).shape == (S, 0, E)


@pytest.mark.parametrize("x", [torch.zeros(E), torch.zeros(1, 1, S, E), torch.zeros(S, E + 1)])
def test_what_is_no_sequence_is_refused(x):
    with pytest.raises(ValueError, match=r"expected a sequence \(S, E\) or \(B, S, E\) with E=8"):
        build().self_attn(x.double())
    for layer in (build(), build().self_attn):
        with pytest.raises(TypeError, match=r"torch\.Tensor"):
            layer([[0.0] * E])
        with pytest.raises(TypeError, match=r"not torch\.int64: convert it by \w+\.float\(\)"):
            layer(torch.zeros(S, E, dtype=torch.int64))
        with pytest.raises(TypeError, match=r"attn_mask must be a torch\.Tensor"):
            layer(tokens(S), [[True]])


@each_kind
@pytest.mark.parametrize("norm_first", [True, False])
def test_gradients_of_the_whole_layer(kind, norm_first):
    layer = build(kind, norm_first=norm_first, kernel="reference", activation="gelu")
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x, *values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, given, (x,), {"is_causal": True})

    x = tokens(1, 3).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)
    run(x, *parameters).square().sum().backward()
    for name, parameter in zip(names, parameters, strict=True):
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"nhead": 3}, "8 features cannot be parted among 3 heads"),
        ({"nhead": 0}, "num_heads must be at least 1, got 0"),
        ({"dim_feedforward": 0}, "dim_feedforward must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"activation": "tanh"}, "activation must be 'relu' or 'gelu', got 'tanh'"),
        ({"score": "cosine"}, "score must be 'dot' or 'gaussian', got 'cosine'"),
        ({"qkv": "mixture"}, "qkv must be 'linear' or 'ugmm', got 'mixture'"),
        ({"out": "mixture"}, "out must be 'linear' or 'ugmm', got 'mixture'"),
        ({"feed_forward": "x"}, "feed_forward must be 'linear' or 'ugmm', got 'x'"),
        ({"kernel": "fast"}, "not 'fast'"),
    ],
)
def test_bad_arguments(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        UGMMEncoderLayer(**{"d_model": E, "nhead": H, **options})


class TestDropout:
    """Hidden neurons that are dropped are left out by the next layer's mixtures."""

    def test_the_rate_is_handed_on(self):
        layer = UGMMEncoderLayer(E, H, 12, 0.3)
        rates = [m.input_dropout for m in layer.modules() if isinstance(m, UGMM)]
        assert rates == [0.0, 0.3]
        assert layer.dropout.p == layer.self_attn.dropout == 0.3

    def test_it_is_random_in_training_only(self):
        torch.manual_seed(0)
        layer, x = UGMMEncoderLayer(E, H, 12, 0.3, score="gaussian"), tokens(S, B).float()
        assert not torch.equal(layer(x), layer(x))
        assert torch.equal(layer.eval()(x), layer(x))

    def test_the_feed_forward_part_drops_by_renormalising(self):
        torch.manual_seed(0)
        layer = UGMMEncoderLayer(E, H, 12, 0.3, dtype=torch.float64)
        first, second = layer.feed_forward
        x = tokens(50)
        torch.manual_seed(5)
        found = layer.feed_forward(x)
        torch.manual_seed(5)
        hidden = first(x)
        torch.testing.assert_close(found, second[1](second[0](hidden)))


def gradients(layer, run, x, **masks):
    layer.zero_grad()
    run(x, **masks).square().sum().backward()
    return [parameter.grad.clone() for parameter in layer.parameters()]


@pytest.mark.parametrize("kind", ["neurons", "all"])
def test_it_compiles_and_is_exported(kind):
    layer, x = build(kind, torch.float32), tokens(B, S, dtype=torch.float32)
    mask = added(causal()).float()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, mask), layer(x, mask))
    found, expected = (
        gradients(layer, run, x, src_key_padding_mask=padding()) for run in (compiled, layer)
    )
    torch.testing.assert_close(found, expected)
    program = torch.export.export(layer.eval(), (x, mask))
    torch.testing.assert_close(program.module()(x, mask), layer(x, mask))


@each_kind
def test_any_batch_is_exported(kind):
    layer, x = build(kind, torch.float32).eval(), tokens(B, S, dtype=torch.float32)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    other = tokens(7, S, dtype=torch.float32)
    torch.testing.assert_close(program.module()(other), layer(other))


@each_kind
@pytest.mark.parametrize("mask", ["none", "causal, added", "both"])
def test_autocast(kind, mask):
    layer, x = build(kind, torch.float32), tokens(B, S, dtype=torch.float32)
    expected = layer(x, **MASKS[mask]())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x, **MASKS[mask]())
        weights = layer.attention_weights(x, **MASKS[mask]())
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(
        weights.float(), layer.attention_weights(x, **MASKS[mask]()), rtol=0.05, atol=0.02
    )
    found.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@each_kind
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision(kind, half):
    layer, x = build(kind, torch.float32), tokens(B, S, dtype=torch.float32)
    expected = layer(x, causal(), padding())
    found = layer.to(half)(x.to(half), causal(), padding())
    assert found.dtype == half
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.15)
    found.square().mean().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.dtype == half, name
        assert parameter.grad.isfinite().all(), name


@each_kind
def test_state_and_seeds(kind):
    layer, x = build(kind), tokens(B, S)
    assert torch.equal(build(kind)(x), layer(x))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    torch.manual_seed(9)
    twin = UGMMEncoderLayer(E, H, 12, 0.0, batch_first=True, dtype=torch.float64, **KINDS[kind])
    assert not torch.equal(twin(x), layer(x))
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(twin(x), layer(x))
    torch.manual_seed(4)
    twin.reset_parameters()
    torch.manual_seed(4)
    layer.reset_parameters()
    assert torch.equal(twin(x), layer(x))


@each_kind
def test_reset_draws_as_the_constructor(kind):
    torch.manual_seed(0)
    layer = UGMMEncoderLayer(64, 4, 96, **KINDS[kind])
    fresh = copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(3.0)
    layer.reset_parameters()
    for name, value in layer.state_dict().items():
        for statistic in (torch.Tensor.mean, torch.Tensor.std):
            kept, drawn = statistic(fresh[name]), statistic(value)
            torch.testing.assert_close(drawn, kept, rtol=0.1, atol=0.05, msg=name)


@each_kind
@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_of_torch_takes_it(kind, norm_first):
    layer = build(kind, norm_first=norm_first).eval()
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    first, second = encoder.layers
    second.reset_parameters()
    x = tokens(B, S)
    for mask in ("none", "causal", "padding", "both, added"):
        masks = MASKS[mask]()
        names = {"src_mask": "mask"}
        found = encoder(x, **{names.get(name, name): value for name, value in masks.items()})
        torch.testing.assert_close(found, second(first(x, **masks), **masks))
        assert not torch.equal(found, first(first(x, **masks), **masks))


def test_the_encoders_nested_tensors_are_not_for_it():
    """Torch says that it does without, and pads as ever."""
    with pytest.warns(UserWarning, match="was not TransformerEncoderLayer"):
        encoder = nn.TransformerEncoder(build(norm_first=False), 1).eval()
    x = tokens(B, S)
    with torch.no_grad():
        found = encoder(x, src_key_padding_mask=padding())
        torch.testing.assert_close(found, encoder.layers[0](x, None, padding()))


def test_a_transformer_of_torch_takes_it():
    encoder = nn.TransformerEncoder(build(), 2, enable_nested_tensor=False)
    model = nn.Transformer(
        E, H, custom_encoder=encoder, num_decoder_layers=1, dim_feedforward=12, batch_first=True
    ).double()
    for layer in encoder.layers:
        layer.reset_parameters()
    assert encoder.layers[0].feed_forward[0][0].loc.std() > 0.8  # as a layer of neurons begins
    source, target = tokens(B, S), tokens(B, 4)
    found = model(source, target, src_key_padding_mask=padding())
    assert found.shape == (B, 4, E)
    found.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_self_attention_is_a_layer_of_its_own():
    torch.manual_seed(0)
    attention = SelfAttention(E, H, score="gaussian", dtype=torch.float64)
    assert attention(tokens(S, B)).shape == (S, B, E)
    assert "num_heads=2, score='gaussian', batch_first=False" in repr(attention)
    assert attention.log_scale.tolist() == pytest.approx([0.25 * math.log(4)] * 2)
