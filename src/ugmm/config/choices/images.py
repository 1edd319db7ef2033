"""What the models share that look at rows as images."""

from dataclasses import dataclass
from typing import Any

from ugmm.config.choices.models import ModelConfig
from ugmm.errors import UserError
from ugmm.keys import key

__all__ = ["ImageModelConfig"]


@dataclass
class ImageModelConfig(ModelConfig):
    """A network over images that are rows; see `ugmm.nn.images`."""

    # [height, width] or [channels, height, width]; null: grey and square
    image_shape: list[int] | None = key(None, low=1, high=10**6)

    def check_with(self, config: Any) -> None:
        """Refuse to take a table for images only because its columns would make a square."""
        super().check_with(config)
        if self.image_shape is None and not config.data.holds_images:
            raise UserError(
                f"model={self.name} looks at images, and rows of data={config.data.name} are none "
                "as far as is known; name model.image_shape=[height,width], or use another model"
            )
