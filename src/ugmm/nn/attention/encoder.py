"""The layer of a Transformer's encoder, with parts of mixture neurons."""

from typing import Literal

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.attention.maps import Map, check_map, make_map, reset
from ugmm.nn.attention.scores import Score
from ugmm.nn.attention.self_attention import SelfAttention
from ugmm.nn.checks import check_floats, check_positive
from ugmm.nn.dropout import Dropout

__all__ = ["UGMMEncoderLayer"]

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class UGMMEncoderLayer(nn.Module):
    r"""Self-attention and a feed-forward part, as `torch.nn.TransformerEncoderLayer`.

    With ``norm_first`` it is, LN a LayerNorm,

    .. math::
        x' = x + \operatorname{Attention}(\operatorname{LN}(x)), \qquad
        y = x' + \operatorname{FF}(\operatorname{LN}(x')),

    where FF is two layers of mixture neurons, each followed by a LayerNorm, or two affine ones
    with an activation between them. With all parts ``"linear"`` and the score ``"dot"`` it is
    `torch.nn.TransformerEncoderLayer`.

    It goes into `torch.nn.TransformerEncoder` (``enable_nested_tensor=False``, or torch warns
    that it does without) and with that into `torch.nn.Transformer`, whose own start draws all
    matrices as affine maps want it: call :meth:`reset_parameters` of each layer after that.

    Arguments:
        d_model: E, the features of a token.
        nhead: Heads, a divisor of E.
        dim_feedforward: Hidden units of the feed-forward part.
        dropout: Of attention weights, of what both parts add, and of hidden units: mixture
            neurons leave out the components that look at a dropped one.
        activation: ``"relu"`` or ``"gelu"``, of a linear feed-forward part.
        layer_norm_eps: Of the two LayerNorms before (or after) the parts.
        batch_first: Whether sequences are (B, S, E), and not (S, B, E).
        norm_first: Whether the LayerNorms come before the parts, as is the default here and not of
            torch, or after their sums.
        feed_forward: ``"ugmm"`` or ``"linear"``.
        score: ``"dot"`` or ``"gaussian"``; see `gaussian_attention`.
        qkv: ``"linear"`` or ``"ugmm"``, for queries, keys and values.
        out: The same for the output of the heads.
        min_scale: Floor under every scale of a neuron.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (S, E), (S, B, E) or (B, S, E), output the same.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Literal["relu", "gelu"] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = True,
        *,
        feed_forward: Map = "ugmm",
        score: Score = "dot",
        qkv: Map = "linear",
        out: Map = "linear",
        min_scale: float = 0.2,
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_map(feed_forward=feed_forward)
        check_positive(dim_feedforward=dim_feedforward)
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be 'relu' or 'gelu', got {activation!r}")
        self.norm_first = norm_first
        neurons = (min_scale, kernel, device, dtype)
        self.self_attn = SelfAttention(
            d_model, nhead, dropout, batch_first, score, qkv, out, *neurons
        )
        first = make_map(feed_forward, d_model, dim_feedforward, *neurons)
        second = make_map(feed_forward, dim_feedforward, d_model, *neurons, input_dropout=dropout)
        between = [_ACTIVATIONS[activation](), Dropout(dropout)]
        self.feed_forward = nn.Sequential(
            first, *(between if feed_forward == "linear" else []), second
        )
        self.norm1, self.norm2 = (
            nn.LayerNorm(d_model, eps=layer_norm_eps, device=device, dtype=dtype) for _ in range(2)
        )
        self.dropout = Dropout(dropout)

    def reset_parameters(self) -> None:
        """Draw all parameters afresh."""
        self.self_attn.reset_parameters()
        for part in (self.norm1, self.norm2, self.feed_forward):
            reset(part)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the encoded sequence.

        A token that may see none, as where all of a sequence is padding, reads zeros: the layer
        adds the output map of zeros to it.

        Args:
            src: (S, E), (S, B, E) or (B, S, E).
            src_mask: Of shape (S, S) or (B * nhead, S, S): bool, True where a token may not look,
                or floating, added to the scores.
            src_key_padding_mask: Of shape (S,) or (B, S): bool, True for tokens that nobody sees,
                or floating.
            is_causal: Without a `src_mask`, that no token sees a later one. A mask that is given
                is what counts.
        """
        check_floats(src=src)
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            src = src + self.dropout(self.self_attn(self.norm1(src), *masks))
            return src + self.dropout(self.feed_forward(self.norm2(src)))
        src = self.norm1(src + self.dropout(self.self_attn(src, *masks)))
        return self.norm2(src + self.dropout(self.feed_forward(src)))

    def attention_weights(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the weights that each token gives each, without dropout, to be looked at.

        Args:
            src: What `forward` is given, as its other arguments.
            src_mask: See `forward`.
            src_key_padding_mask: See `forward`.
            is_causal: See `forward`.

        Returns:
            (B, nhead, S, S), or (nhead, S, S) of one sequence alone.
        """
        check_floats(src=src)
        seen = self.norm1(src) if self.norm_first else src
        return self.self_attn.weights(seen, src_mask, src_key_padding_mask, is_causal)

    def extra_repr(self) -> str:
        """Describe the layer in `repr`; its parts describe themselves."""
        return f"norm_first={self.norm_first}"
