"""One step of a gated recurrence of mixture neurons."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx import wrap

from ugmm.functional import mixture_log_score
from ugmm.kernels import KernelName
from ugmm.kernels.prepared import Prepared, split_columns, whole_neurons
from ugmm.kernels.problem import widened
from ugmm.kernels.roads import has_numbers
from ugmm.nn.checks import check_floats, check_positive
from ugmm.nn.mixture import UGMM

__all__ = ["UGMMCell"]

wrap("mixture_log_score")  # see ugmm.nn.mixture.layer

_SPREAD_OF_INPUTS = 0.5  # of the means at the start, as in the first layer of a UGMMNetwork


class UGMMCell(nn.Module):
    r"""A gated recurrent cell whose candidate and gate are neurons that see input and state.

    With the log-scores :math:`s_n, s_z` of H neurons each over :math:`(x, h)`,

    .. math::
        n = \tanh(\operatorname{LayerNorm}(s_n)), \qquad
        z = \sigma(\operatorname{LayerNorm}(s_z)), \qquad
        h' = n + z \, (h - n).

    The norms bring log-scores, which spread over tens of units and are mostly negative, to where
    tanh and the logistic function bend; the gate's shift, :math:`b_z`, starts as `gate_bias`.
    There is no reset gate; and `torch.nn.GRUCell`'s argument `bias` has no meaning here, where
    only the norms have shifts.

    Arguments:
        input_size: Number of inputs.
        hidden_size: Number of states, H, at least two: their norm is about their differences.
        min_scale: Floor under every scale. Gradients go through the cell once a step: below 0.2
            they become large; clip them in any case.
        gate_bias: What the gates' shift starts as: the larger, the longer a state is kept.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        x (B, input_size) or (input_size,); hx (B, H) or (H,), by default zeros; output as
        hx.

    Raises:
        TypeError: If x or hx is no tensor of floating-point numbers.
        ValueError: If a size is too small, or `min_scale` is negative.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        min_scale: float = 0.2,
        gate_bias: float = 1.0,
        kernel: KernelName = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(input_size=input_size)
        if hidden_size < 2:
            raise ValueError(
                f"hidden_size must be at least 2, got {hidden_size}: a norm of one state is 0, "
                "whatever is read"
            )
        self.input_size, self.hidden_size, self.gate_bias = input_size, hidden_size, gate_bias
        self.mixture = UGMM(
            input_size + hidden_size,
            2 * hidden_size,
            min_scale=min_scale,
            kernel=kernel,
            device=device,
            dtype=dtype,
        )
        # In two groups it is a LayerNorm of the candidates and one of the gates.
        self.norm = nn.GroupNorm(2, 2 * hidden_size, device=device, dtype=dtype)
        self._start()

    def reset_parameters(self) -> None:
        """Draw all parameters afresh."""
        self.mixture.reset_parameters()
        self.norm.reset_parameters()
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        self.mixture.loc[:, : self.input_size].mul_(_SPREAD_OF_INPUTS)
        self.norm.bias[self.hidden_size :].fill_(self.gate_bias)

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state: (B, input_size) and (B, H) to (B, H), or one row of each."""
        check_floats(x=x)
        lead = tuple(x.shape[:-1])
        if hx is None:
            hx = self.mixture.loc.new_zeros(*lead, self.hidden_size)
        check_floats(hx=hx)
        if x.dim() not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x must be (B, {self.input_size}) or ({self.input_size},), not {tuple(x.shape)}"
            )
        if tuple(hx.shape) != (*lead, self.hidden_size):
            raise ValueError(f"hx must be {(*lead, self.hidden_size)}, not {tuple(hx.shape)}")
        n, z = self.candidate_and_gate(x, hx)
        return torch.lerp(n, hx.to(n.dtype), z)

    def candidate_and_gate(self, x: Tensor, hx: Tensor) -> tuple[Tensor, Tensor]:
        """Return n and z of inputs (..., input_size) and states (..., H): (..., H) each."""
        score = self.mixture(torch.cat([x, hx], -1))
        rows = score.reshape(-1, 2 * self.hidden_size)
        n, z = self._normed(rows, self.norm.weight, self.norm.bias)
        return n.reshape(hx.shape), z.reshape(hx.shape)

    def _normed(self, score: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return candidates and gates of scores (B, 2 H): (B, H) each."""
        n, z = torch.group_norm(score, 2, weight, bias, self.norm.eps).chunk(2, -1)
        return n.tanh(), z.sigmoid()

    def scan(
        self, inputs: Tensor, sizes: Sequence[int], start: Tensor, reverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        r"""Run over the steps of several sequences, the longest first.

        A score is the log-sum of what the components that look at the input add up to, and those
        that look at the state. The former is computed for all steps at once.

        Args:
            inputs: Step by step, the inputs of the sequences that go on, (sum of sizes,
                input_size), as in a `PackedSequence`.
            sizes: How many those are at each step, never more than before.
            start: The states before the first step, (sizes[0], H).
            reverse: Whether each sequence is read from its end.

        Returns:
            The states after each step, (sum of sizes, H), laid out as the inputs; and those after
            each sequence's last step, (sizes[0], H). Both in float32 if the parameters are in
            half precision.
        """
        of_inputs, step = self._split(inputs)
        parts = of_inputs.split(sizes)
        start = start.to(of_inputs.dtype)
        h, ended, states = start[: sizes[-1 if reverse else 0]], [], []
        for part in reversed(parts) if reverse else parts:
            size, current = part.shape[0], h.shape[0]
            if size > current:
                h = torch.cat([h, start[current:size]])
            elif size < current:
                ended.append(h[size:])
                h = h[:size]
            h = step(part, h)
            states.append(h)
        final = torch.cat([h, *reversed(ended)]) if ended else h
        return torch.cat(states[::-1] if reverse else states), final

    def _split(self, inputs: Tensor) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """Return the inputs' part of all scores, and what makes a step of such a part and states.

        All that is the same at each step is made here.
        """
        own = self.mixture
        parameters = [widened(t) for t in (own.loc, own.raw_scale, own.logits)]
        of_x, of_h = split_columns(parameters, self.input_size)
        of_x[2], weight_of_x = whole_neurons(of_x[2])
        of_h[2], weight_of_h = whole_neurons(of_h[2])
        of_h = [t.contiguous() for t in of_h]
        total = parameters[2].logsumexp(-1)
        share = weight_of_h - total  # logarithms of the weight on the state
        min_scale, kernel = own.min_scale, own.kernel
        norm = [widened(t) for t in (self.norm.weight, self.norm.bias)]
        prepared = Prepared(*of_h, min_scale=min_scale) if has_numbers(of_h[0]) else None

        def step(of_input: Tensor, h: Tensor) -> Tensor:
            of_state = mixture_log_score(
                h, *of_h, min_scale=min_scale, kernel=kernel, prepared=prepared
            )
            n, z = self._normed(torch.logaddexp(of_input, of_state + share), *norm)
            return torch.lerp(n, h, z)

        inputs = widened(inputs) if inputs.dtype == own.loc.dtype else inputs
        of_inputs = mixture_log_score(inputs, *of_x, min_scale=min_scale, kernel=kernel)
        return of_inputs + (weight_of_x - total), step

    def extra_repr(self) -> str:
        """Describe the cell in `repr`; its parts describe themselves."""
        return f"{self.input_size}, {self.hidden_size}, gate_bias={self.gate_bias}"
