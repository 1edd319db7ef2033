"""The encoder's layer: beside torch.nn's own, and its score beside torch.distributions."""

import copy
import io
import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.attention import SDPBackend, sdpa_kernel

from ugmm.nn import UGMM, SelfAttention, UGMMEncoderLayer, gaussian_attention

E, H, S, B = 8, 2, 5, 3
KINDS = {
    "linear": {"feed_forward": "linear"},
    "neurons": {},
    "gaussian": {"score": "gaussian"},
    "all": {"score": "gaussian", "qkv": "ugmm", "out": "ugmm"},
}
PAIRS = {  # names in torch.nn's layer, and in ours
    "self_attn.in_proj_": "self_attn.in_proj.",
    "self_attn.out_proj.": "self_attn.out_proj.",
    "linear1.": "feed_forward.0.",
    "linear2.": "feed_forward.3.",
    "norm1.": "norm1.",
    "norm2.": "norm2.",
}

each_kind = pytest.mark.parametrize("kind", KINDS)


def build(kind="all", dtype=torch.float64, **options):
    torch.manual_seed(0)
    layer = UGMMEncoderLayer(
        E, H, 12, 0.0, batch_first=True, dtype=dtype, **KINDS[kind], **options
    )
    if layer.self_attn.log_scale is not None:
        with torch.no_grad():
            layer.self_attn.log_scale.copy_(torch.tensor([-0.3, 0.4]))  # heads of their own
    return layer


def tokens(*lead, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*lead, E, generator=generator, dtype=torch.float64).to(dtype)


def causal():
    return torch.ones(S, S, dtype=torch.bool).triu(1)


def padding():
    return torch.arange(S) >= torch.tensor([[S], [3], [1]])


def added(mask):
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, -math.inf)


def biases():
    """A bias that is no mask, for each head of each sequence."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(B * H, S, S, generator=generator, dtype=torch.float64)


MASKS = {
    "none": dict,
    "causal": lambda: {"src_mask": causal()},
    "causal, added": lambda: {"src_mask": added(causal())},
    "hint": lambda: {"src_mask": added(causal()), "is_causal": True},
    "padding": lambda: {"src_key_padding_mask": padding()},
    "padding, added": lambda: {"src_key_padding_mask": added(padding())},
    "both": lambda: {"src_mask": causal(), "src_key_padding_mask": padding()},
    "both, added": lambda: {"src_mask": added(causal()), "src_key_padding_mask": added(padding())},
    "biases": lambda: {"src_mask": biases()},
    "biases, padding": lambda: {
        "src_mask": biases(),
        "src_key_padding_mask": added(padding()),
    },
    "all padding": lambda: {
        "src_key_padding_mask": padding() | (torch.arange(B) == 1).unsqueeze(1)
    },
}

each_mask = pytest.mark.parametrize("mask", MASKS)


class TestBesideTorch:
    """With affine parts and dot products, it is `nn.TransformerEncoderLayer`."""

    @pytest.fixture(params=list(itertools.product([True, False], [True, False])), ids=str)
    def layers(self, request):
        norm_first, batch_first = request.param
        torch.manual_seed(0)
        options = {"norm_first": norm_first, "batch_first": batch_first, "dtype": torch.float64}
        theirs = nn.TransformerEncoderLayer(E, H, 12, 0.0, activation="gelu", **options)
        ours = UGMMEncoderLayer(E, H, 12, 0.0, "gelu", feed_forward="linear", **options)
        state = {}
        for name, value in theirs.state_dict().items():
            known = next(known for known in PAIRS if name.startswith(known))
            # so that no bias is 0, and no weight 1
            state[name.replace(known, PAIRS[known])] = value.add_(0.1 * torch.randn_like(value))
        ours.load_state_dict(state)
        return ours, theirs

    @each_mask
    def test_outputs_and_gradients(self, layers, mask):
        ours, theirs = layers
        x = tokens(B, S) if ours.self_attn.batch_first else tokens(S, B)
        found, expected = (
            (layer(at, **MASKS[mask]()), at)
            for layer, at in ((ours, x.clone().requires_grad_()), (theirs, x.requires_grad_()))
        )
        torch.testing.assert_close(found[0], expected[0])
        grads = [torch.autograd.grad(y.square().sum(), at)[0] for y, at in (found, expected)]
        torch.testing.assert_close(*grads)

    def test_one_sequence(self, layers):
        ours, theirs = layers
        x, mask = tokens(S), torch.arange(S) >= 3
        torch.testing.assert_close(ours(x), theirs(x))
        found = ours(x, causal(), mask)
        torch.testing.assert_close(found, theirs(x, causal(), mask))

    @pytest.mark.parametrize("mask", ["none", "causal", "padding", "both", "biases"])
    def test_weights(self, layers, mask):
        ours, theirs = layers
        x = tokens(B, S) if ours.self_attn.batch_first else tokens(S, B)
        masks = MASKS[mask]()
        at = theirs.norm1(x) if theirs.norm_first else x
        given = {
            "attn_mask": masks.get("src_mask"),
            "key_padding_mask": masks.get("src_key_padding_mask"),
        }
        _, expected = theirs.self_attn(at, at, at, **given, average_attn_weights=False)
        torch.testing.assert_close(ours.attention_weights(x, **masks), expected)

    def test_the_start_is_spread_alike(self):
        torch.manual_seed(0)
        theirs = nn.TransformerEncoderLayer(64, 4, 128)
        ours = UGMMEncoderLayer(64, 4, 128, feed_forward="linear").state_dict()
        for name, value in theirs.state_dict().items():
            known = next(known for known in PAIRS if name.startswith(known))
            found = ours[name.replace(known, PAIRS[known])]
            torch.testing.assert_close(found.abs().max(), value.abs().max(), rtol=0.1, atol=1e-9)
            torch.testing.assert_close(
                found.std(correction=0), value.std(correction=0), rtol=0.2, atol=1e-9
            )


class TestGaussianScore:
    """Weights are the posterior of the mixture of which the keys are the means."""

    @pytest.fixture
    def parts(self):
        torch.manual_seed(0)
        query, key, value = (torch.randn(B, H, S, 4, dtype=torch.float64) for _ in range(3))
        return query, key, value, torch.tensor([-0.3, 0.4], dtype=torch.float64)

    def expected(self, query, key, value, log_scale, log_prior):
        """Read values by the posterior, as torch.distributions tells it."""
        scale = log_scale.exp().view(1, H, 1, 1, 1)
        components = Independent(Normal(key.unsqueeze(2), scale), 1)  # (B, H, 1, S)
        prior = Categorical(logits=log_prior.expand(B, H, S, S))
        at = query.unsqueeze(3)
        joint = prior.logits + components.log_prob(at)
        mixture = MixtureSameFamily(prior, components.expand((B, H, S, S)))
        posterior = (joint - mixture.log_prob(query).unsqueeze(-1)).exp()
        return posterior, posterior @ value

    def test_without_a_mask_the_prior_is_flat(self, parts):
        log_prior = torch.zeros(S, dtype=torch.float64)
        torch.testing.assert_close(gaussian_attention(*parts), self.expected(*parts, log_prior)[1])

    def test_a_mask_is_the_logarithm_of_the_prior(self, parts):
        log_prior = torch.randn(H, S, S, dtype=torch.float64)
        found = gaussian_attention(*parts, attn_mask=log_prior)
        torch.testing.assert_close(found, self.expected(*parts, log_prior)[1])

    def test_causal(self, parts):
        expected = self.expected(*parts, added(causal()))[1]
        torch.testing.assert_close(gaussian_attention(*parts, is_causal=True), expected)
        torch.testing.assert_close(gaussian_attention(*parts, attn_mask=~causal()), expected)

    def test_the_layer_shows_the_posterior(self, parts):
        layer = build("gaussian")
        attention, x = layer.self_attn, tokens(B, S)
        flat = attention.in_proj(layer.norm1(x)).unflatten(-1, (3, H, E // H))
        query, key, value = flat.permute(2, 0, 3, 1, 4)
        posterior, read = self.expected(query, key, value, attention.log_scale, added(causal()))
        weights = layer.attention_weights(x, causal())
        torch.testing.assert_close(weights, posterior)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        expected = x + attention.out_proj(read.transpose(1, 2).flatten(2))
        expected = expected + layer.feed_forward(layer.norm2(expected))
        torch.testing.assert_close(layer(x, is_causal=True), expected)

    def test_keys_of_one_length_make_it_dot_product_attention(self, parts):
        query, key, value, _ = parts
        key = key / key.norm(dim=-1, keepdim=True)
        scale = torch.full((H,), 0.25 * math.log(4), dtype=torch.float64)  # s^2 = sqrt(4)
        expected = nn.functional.scaled_dot_product_attention(query, key, value)
        torch.testing.assert_close(gaussian_attention(query, key, value, scale), expected)

    def test_values_may_be_wider_than_keys(self, parts):
        query, key, _, log_scale = parts
        value = torch.randn(B, H, S, 9, dtype=torch.float64)
        expected = self.expected(query, key, value, log_scale, torch.zeros(S))[1]
        torch.testing.assert_close(gaussian_attention(query, key, value, log_scale), expected)

    @pytest.mark.parametrize("masked", [False, True])
    def test_a_fused_kernel_takes_it(self, parts, masked):
        parts = [part.requires_grad_() for part in parts]
        mask = ~causal() if masked else None
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            fused = gaussian_attention(*parts, attn_mask=mask)
        with sdpa_kernel(SDPBackend.MATH):
            plain = gaussian_attention(*parts, attn_mask=mask)
        torch.testing.assert_close(fused, plain)
        grads = [torch.autograd.grad(y.square().sum(), parts) for y in (fused, plain)]
        torch.testing.assert_close(*grads)

    def test_gradients(self, parts):
        parts = [part[:1].requires_grad_() for part in parts[:3]] + [parts[3].requires_grad_()]
        assert torch.autograd.gradcheck(gaussian_attention, parts)


class TestMasks:
    """What is hidden has no influence."""

    @each_kind
    @pytest.mark.parametrize("mask", ["causal", "causal, added", "hint", "no mask"])
    def test_no_token_sees_a_later_one(self, kind, mask):
        layer, x = build(kind).eval(), tokens(B, S)
        masks = {"is_causal": True} if mask == "no mask" else MASKS[mask]()
        expected = layer(x, **masks)
        changed = x.clone()
        changed[:, 3:] = 7.0
        found = layer(changed, **masks)
        torch.testing.assert_close(found[:, :3], expected[:, :3])
        assert not torch.allclose(found[:, 3:], expected[:, 3:])

    @each_kind
    def test_padding_is_not_seen(self, kind):
        layer, x = build(kind).eval(), tokens(B, S)
        found = layer(x, src_key_padding_mask=padding())
        for row, length in enumerate((S, 3, 1)):
            torch.testing.assert_close(found[row, :length], layer(x[row, :length]))

    @each_kind
    def test_padding_and_causality_together(self, kind):
        layer, x = build(kind).eval(), tokens(B, S)
        expected = layer(x, causal(), padding())
        torch.testing.assert_close(layer(x, None, padding(), is_causal=True), expected)
        for row, length in enumerate((S, 3, 1)):
            alone = layer(x[row, :length], is_causal=True)
            torch.testing.assert_close(expected[row, :length], alone)

    @each_kind
    def test_where_all_is_hidden_zeros_are_read(self, kind):
        layer, x = build(kind).eval(), tokens(B, S)
        hidden = torch.ones(B, S, dtype=torch.bool)
        nothing = layer.self_attn(layer.norm1(x), key_padding_mask=hidden)
        zeros = layer.self_attn.out_proj(torch.zeros(E, dtype=torch.float64))
        torch.testing.assert_close(nothing, zeros.expand(B, S, E))
        weights = layer.attention_weights(x, src_key_padding_mask=hidden)
        assert torch.equal(weights, torch.zeros(B, H, S, S, dtype=torch.float64))
        assert layer(x, src_key_padding_mask=hidden).isfinite().all()

    def test_weights_have_no_part_in_the_future(self):
        layer = build()
        weights = layer.attention_weights(tokens(S), is_causal=True)
        assert weights.shape == (H, S, S)
        assert not weights[:, causal()].any()

    @pytest.mark.parametrize(
        ("masks", "kind", "complaint"),
        [
            ({"src_mask": torch.zeros(S, S + 1)}, ValueError, r"attn_mask must be of shape"),
            ({"src_mask": torch.zeros(B, S, S)}, ValueError, r"\(5, 5\) or \(6, 5, 5\)"),
            ({"src_key_padding_mask": torch.zeros(S, B)}, ValueError, r"shape \(3, 5\)"),
            ({"src_mask": torch.zeros(S, S, dtype=torch.int64)}, TypeError, "bool or floating"),
        ],
    )
    def test_other_masks_are_refused(self, masks, kind, complaint):
        with pytest.raises(kind, match=complaint):
            build()(tokens(B, S), **masks)


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
