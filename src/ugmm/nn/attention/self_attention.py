"""Self-attention with torch.nn's shapes and masks, by dot products or by Gaussians."""

import math

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.attention.maps import Map, check_map, make_map, reset
from ugmm.nn.attention.masks import causal_mask, merge_masks
from ugmm.nn.attention.scores import (
    Score,
    attend,
    attention_weights,
    check_score,
    gaussian_attention,
    gaussian_features,
)
from ugmm.nn.checks import check_floats, check_positive

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    r"""Multi-head attention of a sequence to itself, whose parts may be of mixture neurons.

    Each head weighs the values by the posterior of its keys; see `gaussian_attention`. The start
    of the Gaussian's scale, :math:`s^2 = \sqrt d` with d features a head, is that of dot-product
    attention, whose scores differ by :math:`|k_i|^2 / 2 s^2` alone.

    Arguments:
        embed_dim: E.
        num_heads: H, a divisor of E.
        dropout: Probability that a weight is dropped, in training.
        batch_first: Whether sequences are (B, S, E), and not (S, B, E).
        score: ``"dot"``, or ``"gaussian"`` with one learned scale a head.
        qkv: What makes queries, keys and values: ``"linear"``, an affine map, or ``"ugmm"``,
            mixture neurons and a LayerNorm over all heads for each of the three.
        out: What makes the output of the heads' values, of the same two kinds.
        min_scale: Floor under every scale of a neuron.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (S, E), (S, B, E) or (B, S, E), output the same; ``log_scale`` is (H,).

    Raises:
        ValueError: If an argument is out of its range.
    """

    log_scale: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        batch_first: bool = False,
        score: Score = "dot",
        qkv: Map = "linear",
        out: Map = "linear",
        min_scale: float = 0.2,
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                f"{embed_dim} features cannot be parted among {num_heads} heads: their number "
                "must be a multiple of the heads'"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        check_score(score)
        check_map(qkv=qkv, out=out)
        self.embed_dim, self.num_heads, self.score = embed_dim, num_heads, score
        self.dropout, self.batch_first = dropout, batch_first
        each = (min_scale, kernel, device, dtype)
        self.in_proj = make_map(qkv, embed_dim, 3 * embed_dim, *each, parts=3)
        self.out_proj = make_map(out, embed_dim, embed_dim, *each)
        empty = torch.empty(num_heads, device=device, dtype=dtype)
        self.register_parameter("log_scale", nn.Parameter(empty) if score == "gaussian" else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all parameters afresh; affine ones as `torch.nn.MultiheadAttention` does."""
        for part in (self.in_proj, self.out_proj):
            reset(part)
            if isinstance(part, nn.Linear):
                part.bias.zero_()
        if isinstance(self.in_proj, nn.Linear):
            nn.init.xavier_uniform_(self.in_proj.weight)
        if self.log_scale is not None:
            self.log_scale.fill_(0.25 * math.log(self.embed_dim / self.num_heads))

    def forward(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return what the sequence reads in itself.

        Args:
            x: (S, E), (S, B, E) or (B, S, E).
            attn_mask: Of shape (S, S) or (B * H, S, S): bool, True where a query may not look, or
                floating, added to its scores.
            key_padding_mask: Of shape (S,) or (B, S): bool, True for keys that nobody sees, or
                floating.
            is_causal: Without an `attn_mask`, that nobody sees a later key. A mask that is given
                is what counts.
        """
        query, key, value = self._heads(x)
        mask, is_causal = self._mask(query, attn_mask, key_padding_mask, is_causal)
        dropout = self.dropout if self.training else 0.0
        if self.log_scale is None:
            read = attend(query, key, value, mask, dropout, is_causal)
        else:
            read = gaussian_attention(query, key, value, self.log_scale, mask, dropout, is_causal)
        return self._as_given(self.out_proj(read.transpose(1, 2).flatten(2)), x)

    def weights(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the weight that each query gives each key, without dropout.

        `forward` never holds them; its arguments are the same.

        Returns:
            (B, H, S, S), or (H, S, S) of one sequence alone. A query that sees no key has zeros.
        """
        query, key, _ = self._heads(x)
        mask, is_causal = self._mask(query, attn_mask, key_padding_mask, is_causal)
        if is_causal:
            mask = ~causal_mask(query.shape[-2], x.device)
        scale = query.shape[-1] ** -0.5
        if self.log_scale is not None:
            (query, key), scale = gaussian_features(query, key, self.log_scale), 1.0
        found = attention_weights(query, key, scale, mask)
        return found.squeeze(0) if x.dim() == 2 else found

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (B, H, S, d)."""
        check_floats(x=x)
        if x.dim() not in (2, 3) or x.shape[-1] != self.embed_dim:
            order = "(B, S, E)" if self.batch_first else "(S, B, E)"
            raise ValueError(
                f"expected a sequence (S, E) or {order} with E={self.embed_dim}, "
                f"got {tuple(x.shape)}"
            )
        if x.dim() == 2:
            x = x.unsqueeze(0)
        elif not self.batch_first:
            x = x.transpose(0, 1)
        # Not with -1, which an empty batch leaves open.
        width = self.embed_dim // self.num_heads
        parts = self.in_proj(x).unflatten(-1, (3, self.num_heads, width))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def _mask(
        self,
        query: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool,
    ) -> tuple[Tensor | None, bool]:
        """Return one mask, and whether attention is causal without any."""
        batch, heads, length = query.shape[:3]
        if attn_mask is None and is_causal:
            if key_padding_mask is None:
                return None, True
            attn_mask = causal_mask(length, query.device)
        if key_padding_mask is not None and key_padding_mask.dim() == 1:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        size = (batch, heads, length)
        return merge_masks(attn_mask, key_padding_mask, size, query.dtype), False

    def _as_given(self, y: Tensor, x: Tensor) -> Tensor:
        """Return sequences (B, S, E) in the order of x."""
        if x.dim() == 2:
            return y.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1)

    def extra_repr(self) -> str:
        """Describe the attention in `repr`; its maps describe themselves."""
        return f"num_heads={self.num_heads}, score={self.score!r}, batch_first={self.batch_first}"
