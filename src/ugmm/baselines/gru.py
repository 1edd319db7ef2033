"""The gated recurrent unit: the baseline of the same widths that reads an image line by line."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ugmm.nn.recurrence.network import LineReader, Pool
from ugmm.ranks import dropout, rank_of

__all__ = ["GRUNetwork", "start_gates"]


class GRUNetwork(LineReader):
    """`torch.nn.GRU` reads an image line by line, and an affine map scores the classes.

    Arguments:
        n_features: Number of pixels.
        n_classes: Number of classes.
        hidden_size: States of a layer, in each direction.
        num_layers: How many layers there are.
        bidirectional: Whether lines are read from above and from below.
        dropout: Probability that a state is dropped on its way to the next layer.
        pool: ``"last"`` or ``"mean"``; see `ugmm.nn.recurrence.network.LineReader`.
        image_shape: (H, W) or (C, H, W) of the image; by default it is grey and square.
        gate_bias: What the shift of the update gates starts as, as in `ugmm.nn.UGMMRNN`: the
            larger, the longer a state is kept. None: what torch draws, which is near 0.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., n_features), output (..., n_classes).

    Raises:
        ValueError: If an argument is out of its range, or pixels and shape do not fit.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pool: Pool = "last",
        image_shape: Sequence[int] | None = None,
        gate_bias: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(n_features, image_shape, pool)
        self.rnn = _GRU(
            self.line_size,
            hidden_size,
            num_layers,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        if gate_bias is not None:
            start_gates(self.rnn, gate_bias)
        width = hidden_size * (2 if bidirectional else 1)
        self.head = nn.Linear(width, n_classes, device=device, dtype=dtype)


class _GRU(nn.GRU):
    """`torch.nn.GRU`, whose dropout in several processes is that of the whole batch."""

    def forward(  # type: ignore[override]
        self, x: Tensor, hx: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if not self.training or self.dropout == 0 or rank_of()[1] == 1 or hx is not None:
            return super().forward(x, hx)
        directions = 2 if self.bidirectional else 1
        start = x.new_zeros(directions, x.shape[1], self.hidden_size)
        weights: Any = self._flat_weights  # of the first layer, then of the next
        each, finals = len(weights) // self.num_layers, []
        for layer in range(self.num_layers):
            own = weights[layer * each : (layer + 1) * each]
            if layer > 0:
                x = dropout(x, self.dropout, axis=1)
            x, final = torch.gru(x, start, own, True, 1, 0.0, True, self.bidirectional, False)
            finals.append(final)
        return x, torch.cat(finals)


@torch.no_grad()
def start_gates(gru: nn.GRU, bias: float) -> None:
    """Set the shift of all update gates, which is the sum of two of a GRU's parameters."""
    gates = slice(gru.hidden_size, 2 * gru.hidden_size)  # of reset, update, candidate
    for name, parameter in gru.named_parameters():
        if name.startswith("bias"):
            parameter[gates].fill_(bias if name.startswith("bias_ih") else 0.0)
