"""The score on a CUDA device in float32, by Triton kernels (`triton_kernels`, `triton_far`).

Parameters are float32, inputs float32, bf16 or fp16; everything is computed and accumulated in
float32. Besides its results a call needs memory for the parameters' constants (20 bytes each) and,
in backward, for two numbers a score (12 bytes) and at most `_MOST_PARTS` gradients by the inputs
and as many by the parameters.
"""

import functools

import torch
from torch import Tensor

from ugmm.kernels.definition import Kernel, register
from ugmm.kernels.mixture import triton_far, triton_kernels
from ugmm.kernels.problem import Problem

__all__ = ["CUDA", "KERNEL"]

_MOST_PARTS = 8
_WARPS = 12  # programs of backward, each one warp, that an SM holds: registers allow no more
_STRIP = 32  # outputs and rows are split into multiples of this
# A far score's tile is small, lest a few far scores make most tiles far. Its kernels round t_k
# alike, without fused multiply-adds: of differences of huge t_k, the last digit counts.
_FAR = {"BB": 64, "BM": 8, "BK": 128, "num_warps": 4, "enable_fp_fusion": False}


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _padded(n: int, multiple: int) -> int:
    return _ceil_div(n, multiple) * multiple


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":  # interpreted: enough for more parts than one
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


@functools.lru_cache(maxsize=256)
def _split(batch: int, n_out: int, n_in: int, programs: int) -> tuple[int, int]:
    """Outputs and rows of a part: enough parts for the device, with the least memory for them."""
    needed = _ceil_div(programs, _ceil_div(n_in, 32))
    splits = {
        (_padded(_ceil_div(n_out, outs), _STRIP), _padded(_ceil_div(batch, rows), _STRIP))
        for outs in range(1, _MOST_PARTS + 1)
        for rows in range(1, _MOST_PARTS + 1)
    }

    def cost(split: tuple[int, int]) -> tuple[int, int, int]:
        outs, rows = _ceil_div(n_out, split[0]), _ceil_div(batch, split[1])
        return max(0, needed - outs * rows), outs * batch + 3 * rows * n_out, rows

    return min(splits, key=cost)


class _Layer:
    """One call's tensors, contiguous, and the constants of its parameters."""

    def __init__(self, problem: Problem) -> None:
        tensors = (problem.x, problem.loc, problem.log_scales(), problem.logits)
        self.x, *self.parameters = (tensor.contiguous() for tensor in tensors)
        self.batch, self.n_in = self.x.shape
        self.n_out = self.parameters[0].shape[0]
        self.sizes = (self.batch, self.n_out, self.n_in)
        self.width = _padded(self.n_in, triton_kernels.PADDING.value)
        self.constants = self.new(self.n_out, 3 * self.width)
        self.rates = self.new(self.n_out, self.n_in, dtype=torch.float64)
        self.neurons = self.new(3, self.n_out, dtype=torch.float64)
        results = (self.constants, self.rates, self.neurons)
        sizes = (self.n_out, self.n_in, self.width)
        triton_kernels.prepare[(self.n_out,)](
            *self.parameters, *results, *sizes, BK=256, num_warps=4
        )

    def new(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.x.new_empty(shape, dtype=dtype)

    def exact(self) -> tuple[Tensor, ...]:
        """What a far score is computed from."""
        return self.x, *self.parameters, self.rates, self.neurons

    def tiles(self, width: int, rows: int, outs: int) -> tuple[int]:
        return (_ceil_div(self.batch, rows) * _ceil_div(width, outs),)


def _forward(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    x, n_out = problem.x, problem.loc.shape[0]
    score, total = (problem.loc.new_empty(x.shape[0], n_out) for _ in range(2))
    if x.shape[0]:
        with torch.cuda.device_of(x):  # Triton launches on the current device
            layer = _Layer(problem)
            triton_kernels.forward[lambda tile: layer.tiles(n_out, tile["BB"], tile["BM"])](
                layer.x,
                layer.constants,
                layer.neurons,
                score,
                total,
                *layer.sizes,
                layer.width,
                layer.batch.bit_length(),
            )
            grid = layer.tiles(n_out, _FAR["BB"], _FAR["BM"])
            triton_far.revisit[grid](*layer.exact(), score, total, *layer.sizes, **_FAR)
    return score, total, total.new_empty(0)


def _backward(
    grad: Tensor,
    total: Tensor,
    _of_parameters: Tensor,
    problem: Problem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    if not problem.x.shape[0]:
        results = problem.empty_gradients(need_x, need_parameters)
        return tuple(result.zero_() for result in results)
    with torch.cuda.device_of(problem.x):
        layer = _Layer(problem)
        grad = grad.contiguous()
        dx, sums = _sums(layer, grad, total, need_x, need_parameters)
        none = [layer.new(0, 0) for _ in range(3)]
        by_parameters = _finished(layer, grad, sums) if need_parameters else none
        if need_parameters and problem.min_scale > 0:
            by_parameters[1] *= (problem.log_scale - problem.log_scales()).exp()
        # One part is the result; of none, where not needed, the sum is as empty as it must be.
        by_x = (dx[0] if len(dx) == 1 else dx.sum(0)).to(layer.x.dtype)
    return by_x, *by_parameters


def _sums(
    layer: _Layer, grad: Tensor, total: Tensor, need_x: bool, need_parameters: bool
) -> tuple[Tensor, Tensor]:
    """Gradients by the inputs, one a part of the outputs; the sums, one set a part of the rows."""
    batch, n_out, n_in = layer.sizes
    programs = _WARPS * _multiprocessors(layer.x.device)
    outs_each, rows_each = _split(batch, n_out, n_in, programs)
    outs, rows = _ceil_div(n_out, outs_each), _ceil_div(batch, rows_each)
    dx = layer.new(outs, batch, n_in) if need_x else layer.new(1, 0, 0)
    sums = layer.new(rows, 3, n_out, n_in) if need_parameters else layer.new(0)
    padded = _padded(n_out, _STRIP)
    weight, shift = layer.new(batch, padded), layer.new(batch, n_out, dtype=torch.float64)
    grid = layer.tiles(padded, _FAR["BB"], _FAR["BM"])
    scores = (grad, total, weight, shift)
    triton_far.weigh[grid](*layer.exact(), *scores, *layer.sizes, padded, **_FAR)
    needs = {"NEED_X": need_x, "NEED_PARAMETERS": need_parameters}
    triton_kernels.backward[lambda tile: (_ceil_div(n_in, tile["BK"]), outs, rows)](
        layer.x,
        layer.constants,
        weight,
        dx,
        sums,
        *layer.sizes,
        layer.width,
        padded,
        rows_each,
        outs_each,
        batch.bit_length(),
        **needs,
    )
    parts = (rows_each, outs_each)
    inputs = (*layer.exact(), grad, total, shift)
    triton_far.far_backward[(_ceil_div(n_in, _FAR["BK"]), outs, rows)](
        *inputs, dx, sums, *layer.sizes, *parts, **needs, **_FAR
    )
    return dx, sums


def _finished(layer: _Layer, grad: Tensor, sums: Tensor) -> list[Tensor]:
    """The gradients by loc, log_scale and logits."""
    n_out, n_in = layer.n_out, layer.n_in
    results = [layer.new(n_out, n_in) for _ in range(3)]
    grads = grad.sum(0, dtype=torch.float64)
    inputs = (sums, grads, layer.rates, layer.neurons, layer.parameters[2])
    grid = (n_out, _ceil_div(n_in, 256))
    triton_kernels.finish[grid](*inputs, *results, len(sums), n_out, n_in, BK=256, num_warps=4)
    return results


KERNEL = Kernel(
    name="mixture_log_score_cuda",
    forward=_forward,
    backward=_backward,
    saved_shapes=lambda problem: (problem.score_shape(), (0,)),
    dispatch_key="CUDA",
)
CUDA = register(KERNEL)
