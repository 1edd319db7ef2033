"""A Transformer over the patches of an image, each part of which may be of mixture neurons."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.attention.encoder import UGMMEncoderLayer
from ugmm.nn.attention.maps import Map, check_map, make_map
from ugmm.nn.attention.scores import Score
from ugmm.nn.checks import check_positive
from ugmm.nn.classifier import Classifier
from ugmm.nn.heads import Head, make_head
from ugmm.nn.images import as_images, find_image_shape

__all__ = ["VisionTransformer"]

_PLACES = 0.5  # standard deviation of the places' first features, beside tokens of about 1


class VisionTransformer(Classifier):
    r"""A small Vision Transformer: patches of an image are tokens, and their mean is classified.

    A token is the embedding of its patch plus a learned vector of its place. Layers of
    `UGMMEncoderLayer` (``norm_first``, GELU where it is affine) follow, then the tokens' mean, a
    LayerNorm and the head. With all parts ``"linear"`` and the score ``"dot"`` it is the standard
    network.

    Reference:
        A. Dosovitskiy et al., *An image is worth 16x16 words: Transformers for image recognition
        at scale*, ICLR 2021, arXiv:2010.11929.

    Arguments:
        n_features: Pixels of an image, C * H * W.
        n_classes: Classes.
        image_shape: (H, W) or (C, H, W); None for grey and square images.
        patch: A patch's side, a divisor of H and W.
        d_model: Features of a token.
        depth: Layers.
        nhead: Heads, a divisor of `d_model`.
        dim_feedforward: Hidden units of each layer's feed-forward part.
        dropout: See `UGMMEncoderLayer`.
        embedding: What makes tokens of patches, ``"linear"`` or ``"ugmm"``.
        feed_forward: See `UGMMEncoderLayer`, as the next three.
        score: ``"dot"`` or ``"gaussian"``.
        qkv: ``"linear"`` or ``"ugmm"``.
        out: ``"linear"`` or ``"ugmm"``.
        head: See :func:`ugmm.nn.heads.make_head`.
        min_scale: Floor under every scale of a neuron.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., C * H * W), output (..., n_classes).

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        image_shape: Sequence[int] | None = None,
        patch: int = 7,
        d_model: int = 32,
        depth: int = 2,
        nhead: int = 2,
        dim_feedforward: int = 64,
        dropout: float = 0.0,
        embedding: Map = "linear",
        feed_forward: Map = "ugmm",
        score: Score = "dot",
        qkv: Map = "linear",
        out: Map = "linear",
        head: Head = "linear",
        min_scale: float = 0.2,
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(patch=patch, d_model=d_model, depth=depth)
        check_map(embedding=embedding)
        self.image_shape = channels, height, width = find_image_shape(n_features, image_shape)
        if height % patch or width % patch:
            raise ValueError(
                f"images of {height} x {width} pixels are not made of patches of {patch} x "
                f"{patch}: patch must divide both sides"
            )
        self.patch, self.score = patch, score
        neurons = (min_scale, kernel, device, dtype)
        self.embedding = make_map(
            embedding, channels * patch * patch, d_model, *neurons, loc_std=0.5
        )
        n_tokens = (height // patch) * (width // patch)
        self.places = nn.Parameter(torch.empty(n_tokens, d_model, device=device, dtype=dtype))
        nn.init.normal_(self.places, std=_PLACES)
        self.layers = nn.ModuleList(
            UGMMEncoderLayer(
                d_model,
                nhead,
                dim_feedforward,
                dropout,
                activation="gelu",
                batch_first=True,
                feed_forward=feed_forward,
                score=score,
                qkv=qkv,
                out=out,
                min_scale=min_scale,
                kernel=kernel,
                device=device,
                dtype=dtype,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(d_model, device=device, dtype=dtype)
        self.head = make_head(head, d_model, n_classes, *neurons)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores: (..., C * H * W) to (..., n_classes)."""
        tokens, leading = self._tokens(x)
        for layer in self.layers:
            tokens = layer(tokens)
        scores = self.head(self.norm(tokens.mean(1)))
        return scores.reshape(*leading, scores.shape[-1])

    def attention_weights(self, x: Tensor) -> Tensor:
        """Return the weights that each token of the last layer gives each, to be looked at.

        Tokens are the patches of an image, line by line.

        Args:
            x: (..., C * H * W).

        Returns:
            (..., nhead, S, S), with S tokens.
        """
        tokens, leading = self._tokens(x)
        *earlier, last = cast("list[UGMMEncoderLayer]", list(self.layers))
        for layer in earlier:
            tokens = layer(tokens)
        weights = last.attention_weights(tokens)
        return weights.reshape(*leading, *weights.shape[1:])

    def _tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return rows (..., C * H * W) as tokens (B, S, d_model), and their leading sizes."""
        images, leading = as_images(x, self.image_shape)
        return self.embedding(_patches(images, self.patch)) + self.places, leading

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its layers describe themselves."""
        return f"image_shape={self.image_shape}, patch={self.patch}"


def _patches(images: Tensor, side: int) -> Tensor:
    """Return the patches of images (B, C, H, W), line by line: (B, tokens, C * side * side)."""
    parted = images.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # (B, C, h, side, w, side)
    return parted.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
