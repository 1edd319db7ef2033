"""Layers of attention with parts of every kind, sequences and masks, for their tests."""

import math

import pytest
import torch

from ugmm.nn import UGMMEncoderLayer

E, H, S, B = 8, 2, 5, 3
KINDS = {
    "linear": {"feed_forward": "linear"},
    "neurons": {},
    "gaussian": {"score": "gaussian"},
    "all": {"score": "gaussian", "qkv": "ugmm", "out": "ugmm"},
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
