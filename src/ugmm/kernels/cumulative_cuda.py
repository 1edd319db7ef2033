"""The cumulative score on a CUDA device in float32, by Triton kernels (`_triton_cumulative`)."""

import math

import torch
from torch import Tensor

from ugmm.kernels import _triton_cumulative
from ugmm.kernels.operator import CumulativeProblem, Kernel, register

__all__ = ["CUDA", "KERNEL"]

_MOST_PARTS = 16  # of the rows: each has sums of its own, as large as the parameters
_FORWARD = {"BB": 1, "BM": 32, "num_warps": 1}
_BACKWARD = {"BB": 4, "BM": 32, "num_warps": 1}
_ROOT = math.sqrt(0.5 / math.log(2.0))
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_LOWEST_LOG_SCALE = -41.0  # keeps rates below 2**60


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _columns(p: CumulativeProblem) -> Tensor:
    """Means, rates and levels, (3, in, out), rounded once."""
    log_scale, log_weights = p.log_scale.double(), p.logits.double()
    rate = log_scale.clamp(min=_LOWEST_LOG_SCALE).neg_().exp_().mul_(_ROOT)
    level = (log_weights - log_scale - _HALF_LOG_2PI).div_(math.log(2.0))
    return torch.stack([p.loc.t(), rate.t().float(), level.t().float()])


def _forward(problem: CumulativeProblem) -> tuple[Tensor, Tensor, Tensor]:
    x, start = problem.x.contiguous(), problem.start.contiguous()
    (batch, n_in), n_out = x.shape, len(problem.loc)
    score = start.new_empty(problem.score_shape())
    after, wanted, empty = problem.wanted()
    if empty:
        score[:, 0] = start
    if batch and len(after):
        grid = (_ceil_div(batch, _FORWARD["BB"]), _ceil_div(n_out, _FORWARD["BM"]))
        sizes = (batch, n_out, n_in, len(after), wanted)
        with torch.cuda.device_of(x):  # Triton launches on the current device
            _triton_cumulative.forward[grid](
                x, _columns(problem), start, after, score, *sizes, **_FORWARD
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
    x, start, grad = problem.x.contiguous(), problem.start.contiguous(), grad.contiguous()
    (batch, n_in), n_out = x.shape, len(problem.loc)
    after, wanted, empty = problem.wanted()
    results = by_x, by_loc, by_log_scale, by_logits, by_start = problem.empty_gradients(
        need_x, need_parameters
    )
    for result in results:
        result.zero_()
    if batch and (used := len(after)):
        rows_each = max(_BACKWARD["BB"], _ceil_div(batch, _MOST_PARTS))
        parts, tiles = _ceil_div(batch, rows_each), _ceil_div(n_out, _BACKWARD["BM"])
        dx = x.new_zeros((tiles if need_x else 0, batch, n_in))
        sums, columns = x.new_empty(parts, 3, n_in, n_out), _columns(problem)
        tensors = (x, columns, start, after, score.contiguous(), grad, dx, sums, by_start)
        sizes = (batch, n_out, n_in, used, wanted, rows_each)
        with torch.cuda.device_of(x):
            _triton_cumulative.backward[(parts, tiles)](*tensors, *sizes, need_x, **_BACKWARD)
        if need_x:
            torch.sum(dx, 0, out=by_x)
        if need_parameters:
            h, hz, hzz = sums[:, :, :used].sum(0).transpose(1, 2)
            slope = 2.0 * math.log(2.0)
            by_logits[:, :used] = h
            by_loc[:, :used] = hz * columns[1, :used].t() * slope
            by_log_scale[:, :used] = hzz * slope - h
    if empty:
        by_start.add_(grad[:, 0].masked_fill(start == -torch.inf, 0.0))
    return results


KERNEL = Kernel(
    name="cumulative_log_score_cuda",
    forward=_forward,
    backward=_backward,
    saved_shapes=lambda _batch, _n_out, _n_in: ((0,), (0,)),
    dispatch_key="CUDA",
    problem=CumulativeProblem,
    saves_scores=True,
)
CUDA = register(KERNEL)
