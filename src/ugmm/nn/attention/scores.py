"""How well a key goes with a query: by a Gaussian at the query, and as weights to look at."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ugmm.nn.attention.masks import causal_mask
from ugmm.ranks import dropout, rank_of

__all__ = [
    "Score",
    "attend",
    "attention_weights",
    "check_score",
    "gaussian_attention",
    "gaussian_features",
]

Score = Literal["dot", "gaussian"]


def check_score(score: str) -> None:
    """Raise ValueError unless there is a score of this name."""
    if score not in ("dot", "gaussian"):
        raise ValueError(f"score must be 'dot' or 'gaussian', got {score!r}")


def gaussian_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_scale: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
) -> Tensor:
    r"""Attention whose weights are the posterior of a Gaussian mixture with the keys as means.

    .. math::
        w_{ti} = \operatorname{softmax}_i \bigl( \log \mathcal N(k_i; q_t, s_h^2 I) + m_{ti} \bigr)
        = \operatorname{softmax}_i \Bigl( \frac{q_t \cdot k_i}{s_h^2}
            - \frac{|k_i|^2}{2 s_h^2} + m_{ti} \Bigr):

    a query is a draw of the mixture :math:`\sum_i \pi_{ti} \, \mathcal N(k_i, s_h^2 I)`, a mask
    :math:`m_{ti}` the logarithm of its weights up to a constant, and :math:`w_{ti}` the
    probability that component i drew it. The term :math:`-|k_i|^2 / 2` is one more feature of a
    key, so that torch's fused kernels compute all of it; docs/theory.md derives it.

    Args:
        query: (B, H, T, d).
        key: (B, H, S, d).
        value: (B, H, S, e).
        log_scale: :math:`\log s_h` of each head, (H,).
        attn_mask: As of `torch.nn.functional.scaled_dot_product_attention`: broadcast to
            (B, H, T, S); bool, True where a query may look, or floating and added.
        dropout_p: Probability that a weight is dropped.
        is_causal: Whether query t sees the keys up to t only; needs `attn_mask` None.

    Returns:
        (B, H, T, e); zeros where a query sees no key.
    """
    query, key = gaussian_features(query, key, log_scale)
    width = value.shape[-1]
    if query.shape[-1] > width:  # the fused kernels want all of one width
        value = F.pad(value, (0, query.shape[-1] - width))
    found = attend(query, key, value, attn_mask, dropout_p, is_causal, scale=1.0)
    return found[..., :width]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Do as `torch.nn.functional.scaled_dot_product_attention` does.

    In several processes the weights that are dropped are those of one: they are drawn for the
    whole batch, which the fused kernels cannot do.
    """
    if dropout_p == 0 or rank_of()[1] == 1:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale
        )
    if is_causal:
        attn_mask = ~causal_mask(query.shape[-2], query.device)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return dropout(attention_weights(query, key, scale, attn_mask), dropout_p) @ value


def gaussian_features(query: Tensor, key: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return queries and keys of d + 1 features whose products are the Gaussian scores."""
    precision = (-2 * log_scale).exp().view(-1, 1, 1)
    ones = torch.ones_like(query[..., :1])
    half_norm = -0.5 * key.square().sum(-1, keepdim=True)
    # Under autocast the precision is wider than the features.
    query = (torch.cat([query, ones], -1) * precision).to(query.dtype)
    return query, torch.cat([key, half_norm.to(key.dtype)], -1)


def attention_weights(
    query: Tensor, key: Tensor, scale: float, attn_mask: Tensor | None = None
) -> Tensor:
    """Return the weights (B, H, T, S) that attention sums values by: zeros for no key.

    Args:
        query: (B, H, T, d).
        key: (B, H, S, d).
        scale: Of their products.
        attn_mask: As of `gaussian_attention`.
    """
    scores = scale * query @ key.transpose(-1, -2)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return scores.softmax(-1).masked_fill(blind, 0)
