"""Attention with parts of mixture neurons: an encoder's layer, and a network of such layers."""

from ugmm.nn.attention.encoder import UGMMEncoderLayer
from ugmm.nn.attention.scores import gaussian_attention
from ugmm.nn.attention.self_attention import SelfAttention
from ugmm.nn.attention.vision import VisionTransformer

__all__ = ["SelfAttention", "UGMMEncoderLayer", "VisionTransformer", "gaussian_attention"]
