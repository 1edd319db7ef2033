"""The encoder's layer: beside torch.nn's own, and its score beside torch.distributions."""

import itertools
import math

import pytest
import torch
from attention_layers import (
    MASKS,
    B,
    E,
    H,
    S,
    added,
    build,
    causal,
    each_kind,
    each_mask,
    padding,
    tokens,
)
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.attention import SDPBackend, sdpa_kernel

from ugmm.nn import UGMMEncoderLayer, gaussian_attention

PAIRS = {  # names in torch.nn's layer, and in ours
    "self_attn.in_proj_": "self_attn.in_proj.",
    "self_attn.out_proj.": "self_attn.out_proj.",
    "linear1.": "feed_forward.0.",
    "linear2.": "feed_forward.3.",
    "norm1.": "norm1.",
    "norm2.": "norm2.",
}


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
