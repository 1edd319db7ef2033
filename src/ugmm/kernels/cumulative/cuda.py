"""The cumulative score on a CUDA device in float32, by Triton kernels (`triton_kernels`).

Nothing waits for the device: which prefixes are wanted stays there.
"""

import torch
from torch import Tensor

from ugmm.kernels.cumulative import triton_kernels
from ugmm.kernels.definition import Kernel, register
from ugmm.kernels.launch import Launcher, kind_of
from ugmm.kernels.problem import CumulativeProblem

__all__ = ["BACKWARD", "CUDA", "FORWARD", "KERNEL", "MOST_PARTS", "PARAMETERS", "TILE"]

MOST_PARTS = 16  # of the rows: each has sums of its own, as large as the parameters
_CHUNK = 32  # inputs
TILE = {"BM": 32, "BK": _CHUNK, "num_warps": 1}
PARAMETERS = {**TILE, "num_warps": 4}
FORWARD = {"BB": 4, **TILE}
BACKWARD = {"BB": 8, **TILE}

_PREPARE, _CARRY = Launcher(triton_kernels.prepare), Launcher(triton_kernels.carry)
_FORWARD, _CARRY_BACK = Launcher(triton_kernels.forward), Launcher(triton_kernels.carry_back)
_BACKWARD, _FINISH = Launcher(triton_kernels.backward), Launcher(triton_kernels.finish)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


class _Layer:
    """One call's tensors, contiguous, its columns, and where its prefixes' scores go."""

    def __init__(self, problem: CumulativeProblem) -> None:
        self.x, self.start = problem.x.contiguous(), problem.start.contiguous()
        self.batch, self.n_in = self.x.shape
        self.n_out = len(problem.loc)
        self.wanted = problem.score_shape()[1]
        self.place = self._place(problem.positions)
        self.chunks = max(1, _ceil_div(self.n_in - 1, _CHUNK))
        self.sizes = (self.batch, self.n_out, self.n_in, self.wanted, self.chunks)
        self.tiles = _ceil_div(self.n_out, TILE["BM"])
        self.grid = (_ceil_div(self.n_in, _CHUNK), self.tiles, 1)
        self.columns = self.new(3, self.n_in, self.n_out)
        parameters = [p.contiguous() for p in problem[1:4]]
        self.kind = kind_of(self.x, self.start, *parameters)
        _PREPARE(
            self.kind,
            lambda _: self.grid,
            *(*parameters, self.columns, self.n_out, self.n_in),
            **PARAMETERS,
        )

    def _place(self, positions: Tensor | None) -> Tensor:
        """Which result the prefix of each length is, or -1."""
        if positions is None:
            return torch.arange(self.n_in, device=self.x.device)
        place = torch.full((self.n_in,), -1, device=self.x.device)
        place[positions] = torch.arange(self.wanted, device=self.x.device)
        return place

    def new(self, *shape: int) -> Tensor:
        return self.x.new_empty(shape)

    def carries(self) -> Tensor:
        """Memory for two numbers a chunk, row and output."""
        return self.new(2, self.chunks, self.batch, self.n_out)


def _forward(problem: CumulativeProblem) -> tuple[Tensor, Tensor, Tensor]:
    score = problem.start.new_empty(problem.score_shape())
    if score.numel():
        with torch.cuda.device_of(score):  # Triton launches on the current device
            layer = _Layer(problem)
            carries, (batch, n_out, n_in, _, chunks) = layer.carries(), layer.sizes
            inputs = (layer.x, layer.columns, layer.start)
            grid = batch, layer.tiles, 1
            _CARRY(
                layer.kind,
                lambda _: grid,
                *(*inputs, carries, batch, n_out, n_in, chunks),
                **TILE,
            )
            tiles = _ceil_div(batch, FORWARD["BB"]), layer.tiles, chunks
            _FORWARD(
                layer.kind,
                lambda _: tiles,
                *(*inputs, layer.place, carries, score, *layer.sizes),
                **FORWARD,
            )
    return score, score.new_empty(0), score.new_empty(0)


def _backward(
    grad: Tensor,
    score: Tensor,
    _of_parameters: Tensor,
    problem: CumulativeProblem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    results = by_x, *by_parameters, by_start = problem.empty_gradients(need_x, need_parameters)
    if not score.numel():
        for result in results:
            result.zero_()
        return results
    with torch.cuda.device_of(score):
        layer = _Layer(problem)
        carries, batch, chunks = layer.carries(), layer.batch, layer.chunks
        scores = (layer.place, score.contiguous(), grad.contiguous(), carries)
        kind = layer.kind and kind_of(*scores)
        _CARRY_BACK(kind, lambda _: (batch, layer.tiles, 1), *scores, *layer.sizes, **TILE)
        rows_each = max(BACKWARD["BB"], _ceil_div(batch, MOST_PARTS))
        parts = _ceil_div(batch, rows_each)
        dx = layer.x.new_zeros((layer.tiles if need_x else 0, batch, layer.n_in))
        sums = layer.new(parts, 3, layer.n_in, layer.n_out)
        _BACKWARD(
            kind and (*kind, need_x),
            lambda _: (parts, layer.tiles, chunks),
            *(layer.x, layer.columns, layer.start, *scores),
            *(dx, sums, by_start, *layer.sizes, rows_each),
            NEED_X=need_x,
            **BACKWARD,
        )
        if need_x:
            torch.sum(dx, 0, out=by_x)
        if need_parameters:
            sizes = (layer.n_out, layer.n_in, parts)
            _FINISH(
                layer.kind,
                lambda _: layer.grid,
                *(sums, layer.columns, *by_parameters, *sizes),
                **PARAMETERS,
            )
    return results


KERNEL = Kernel(
    name="cumulative_log_score_cuda",
    forward=_forward,
    backward=_backward,
    saved_shapes=lambda _problem: ((0,), (0,)),
    dispatch_key="CUDA",
    problem=CumulativeProblem,
    saves_scores=True,
)
CUDA = register(KERNEL)
