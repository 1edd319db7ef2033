"""Recurrent networks, of mixture neurons and ordinary ones."""

from dataclasses import dataclass
from typing import Any, Literal

from ugmm.config.choices.declare import choice
from ugmm.config.choices.images import ImageModelConfig
from ugmm.errors import UserError
from ugmm.keys import key

__all__ = ["GRUConfig", "LineReaderConfig", "UGMMRecurrentConfig"]


@dataclass
class LineReaderConfig(ImageModelConfig):
    """A network that reads an image line by line; see `ugmm.nn.recurrence.network`."""

    hidden_size: int = key(128, low=1, high=10**6)
    num_layers: int = key(1, low=1, high=1000)
    bidirectional: bool = False
    dropout: float = key(0.0, low=0, below=1)  # between layers
    pool: Literal["last", "mean"] = "last"  # which states are scored

    @property
    def is_bounded(self) -> bool:
        """Whether its outputs have an upper bound: states are in (-1, 1), whatever the head."""
        return True

    def check_with(self, config: Any) -> None:
        """Refuse dropout between layers where there is one, and labels among the pixels."""
        super().check_with(config)
        label = getattr(config.task, "label", "none")
        if label != "none":
            raise UserError(
                f"model={self.name} with task.label={label}: it reads images, and a label's code "
                "is no pixel; set task.label=none"
            )
        if self.dropout and self.num_layers == 1:
            raise UserError(
                f"model.dropout={self.dropout} drops what goes from layer to layer, and there is "
                "one: set model.dropout=0, or model.num_layers=2 or more"
            )


@choice("model", "rnn", builds="ugmm.nn:UGMMRecurrentNetwork")
class UGMMRecurrentConfig(LineReaderConfig):
    """Recurrent mixture neurons; see `ugmm.nn.UGMMRecurrentNetwork`."""

    hidden_size: int = key(128, low=2, high=10**6)  # a norm of one state is 0
    head: Literal["mixture", "gain", "linear"] = "linear"
    gate_bias: float = key(1.0, low=-1000, high=1000)
    min_scale: float = key(0.2, low=0, high=1000)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"


@choice("model", "gru", builds="ugmm.baselines.gru:GRUNetwork")
class GRUConfig(LineReaderConfig):
    """Gated recurrent units; see `ugmm.baselines.GRUNetwork`."""

    gate_bias: float | None = key(None, low=-1000, high=1000)  # null: what torch draws
