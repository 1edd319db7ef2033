"""Networks of attention, with parts of mixture neurons and ordinary ones."""

from typing import Any, Literal

from ugmm.config.choices.declare import choice
from ugmm.config.choices.images import ImageModelConfig
from ugmm.errors import UserError
from ugmm.keys import key

__all__ = ["VisionTransformerConfig"]


@choice("model", "vit", builds="ugmm.nn:VisionTransformer")
class VisionTransformerConfig(ImageModelConfig):
    """A Transformer over patches of an image; see `ugmm.nn.VisionTransformer`."""

    patch: int = key(7, low=1, high=10_000)  # side of one, which divides both sides of an image
    d_model: int = key(32, low=1, high=10**6)
    depth: int = key(2, low=1, high=1000)
    nhead: int = key(2, low=1, high=10_000)
    dim_feedforward: int = key(64, low=1, high=10**6)
    dropout: float = key(0.0, low=0, below=1)
    embedding: Literal["linear", "ugmm"] = "linear"
    feed_forward: Literal["linear", "ugmm"] = "ugmm"
    score: Literal["dot", "gaussian"] = "dot"
    qkv: Literal["linear", "ugmm"] = "linear"
    out: Literal["linear", "ugmm"] = "linear"
    head: Literal["mixture", "gain", "linear"] = "linear"
    min_scale: float = key(0.2, low=0, high=1000)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"

    def check_with(self, config: Any) -> None:
        """Refuse features that cannot be parted among the heads."""
        super().check_with(config)
        if self.d_model % self.nhead:
            raise UserError(
                f"model.d_model={self.d_model} must be a multiple of model.nhead={self.nhead}"
            )
