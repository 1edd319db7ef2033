"""Layers of gated recurrence of mixture neurons, with the interface of `torch.nn.GRU`."""

from typing import cast, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ugmm.kernels import KernelName
from ugmm.nn.checks import check_positive, check_tensors
from ugmm.nn.recurrence.cell import UGMMCell
from ugmm.ranks import dropout

__all__ = ["UGMMRNN"]


class UGMMRNN(nn.Module):
    r"""Reads sequences, as `torch.nn.GRU` does, with the recurrence of `UGMMCell`.

    Its arguments, inputs and outputs are those of `torch.nn.GRU`, but for `bias`, which has no
    meaning here: the cells' norms have shifts, and mixtures none. As that is a GRU's fourth
    argument, those from there on go by name.

    All steps' inputs go through the mixtures in one call, and only what looks at the state is
    computed step by step.

    Arguments:
        input_size: Number of inputs at a step.
        hidden_size: Number of states, H, at least two.
        num_layers: How many layers there are; each reads the states of the one before.
        batch_first: Whether the batch, not the step, is the first dimension of inputs and outputs
            (not of the states in `hx` and `h_n`).
        dropout: Probability that an output of a layer is dropped on its way to the next one.
        bidirectional: Whether each layer reads the sequences from both ends, with cells of its
            own for each.
        min_scale: Floor under every scale; see `UGMMCell`.
        gate_bias: What the gates' shift starts as: the larger, the longer a state is kept.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        x (T, B, input_size), (B, T, input_size) if `batch_first`, (T, input_size) of one
        sequence, or a `PackedSequence`; hx (L, B, H) or (L, H), by default zeros, where L is the
        number of layers, twice that if `bidirectional`; outputs as x, with H states, or
        2 H; h_n as hx.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        min_scale: float = 0.2,
        gate_bias: float = 1.0,
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(num_layers=num_layers)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        if dropout and num_layers == 1:
            raise ValueError(
                f"dropout={dropout} drops what goes from layer to layer, and there is one layer: "
                "set dropout=0, or num_layers=2 or more"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.num_directions = 2 if bidirectional else 1
        self.cells = nn.ModuleList(
            UGMMCell(
                input_size if layer == 0 else self.num_directions * hidden_size,
                hidden_size,
                min_scale=min_scale,
                gate_bias=gate_bias,
                kernel=kernel,
                device=device,
                dtype=dtype,
            )
            for layer in range(num_layers)
            for _ in range(self.num_directions)
        )

    def reset_parameters(self) -> None:
        """Draw all parameters afresh."""
        for cell in self._cells():
            cell.reset_parameters()

    def _cells(self) -> list[UGMMCell]:
        return cast("list[UGMMCell]", list(self.cells))

    @overload
    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...
    @overload
    def forward(
        self, x: PackedSequence, hx: Tensor | None = None
    ) -> tuple[PackedSequence, Tensor]: ...
    def forward(
        self, x: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Return the last layer's states after each step, and every layer's after the last one.

        In a packed batch the last step is each sequence's own.

        Args:
            x: The sequences; see Shapes.
            hx: The states before the first step.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If a shape does not fit, or there is no step.
        """
        if isinstance(x, PackedSequence):
            return self._packed(x, hx)
        check_tensors(x=x)
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x must be of 3 dimensions, or 2 for one sequence, and end with "
                f"{self.input_size} inputs, not {tuple(x.shape)}"
            )
        alone = x.dim() == 2
        if alone:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        n_steps, batch = x.shape[:2]
        if n_steps == 0:
            raise ValueError("a sequence needs at least one step")
        start = self._start(x, batch, hx, alone)
        output, final = self._layers(x.flatten(0, 1), [batch] * n_steps, start)
        output = output.unflatten(0, (n_steps, batch))
        if alone:
            return output.squeeze(1), final.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output, final

    def _packed(self, x: PackedSequence, hx: Tensor | None) -> tuple[PackedSequence, Tensor]:
        data, sizes, order, back = x
        if data.dim() != 2 or data.shape[-1] != self.input_size:
            raise ValueError(
                f"packed sequences must have {self.input_size} inputs at each step, not "
                f"{tuple(data.shape[1:])}"
            )
        start = self._start(data, int(sizes[0]), hx)
        if order is not None:
            start = start.index_select(1, order)
        output, final = self._layers(data, sizes.tolist(), start)
        if back is not None:
            final = final.index_select(1, back)
        return PackedSequence(output, sizes, order, back), final

    def _start(self, x: Tensor, batch: int, hx: Tensor | None, alone: bool = False) -> Tensor:
        """Return the states before the first step, (L, B, H); `hx` of one sequence has no B."""
        shape = len(self.cells), batch, self.hidden_size
        if hx is None:
            return x.new_zeros(shape)
        check_tensors(hx=hx)
        expected = (shape[0], shape[2]) if alone else shape
        if tuple(hx.shape) != expected:
            raise ValueError(f"hx must be {expected}, not {tuple(hx.shape)}")
        return hx.reshape(shape)

    def _layers(self, data: Tensor, sizes: list[int], start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last layer's states, as `UGMMCell.scan`, and all final ones, (L, B, H)."""
        dtype, finals, n = data.dtype, [], self.num_directions
        for first in range(0, len(self.cells), n):
            if first > 0:
                data = self._dropped(data, sizes)
            outputs = []
            for k, cell in enumerate(self._cells()[first : first + n]):
                states, final = cell.scan(data, sizes, start[first + k], reverse=k == 1)
                outputs.append(states)
                finals.append(final)
            data = torch.cat(outputs, -1) if n > 1 else outputs[0]
        return data.to(dtype), torch.stack(finals).to(dtype)

    def _dropped(self, data: Tensor, sizes: list[int]) -> Tensor:
        """Drop states on their way to the next layer."""
        if sizes[0] != sizes[-1]:  # packed: no other process has sequences of these lengths
            return dropout(data, self.dropout, self.training)
        steps = data.unflatten(0, (len(sizes), sizes[0]))
        return dropout(steps, self.dropout, self.training, axis=1).flatten(0, 1)

    def extra_repr(self) -> str:
        """Describe the layers in `repr`."""
        text = f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"
        for name in ("batch_first", "dropout", "bidirectional"):
            if value := getattr(self, name):
                text += f", {name}={value}"
        return text
