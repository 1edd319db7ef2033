"""The definition of the operation, in plain PyTorch: any device, float32 and float64."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ugmm.kernels.operator import Kernel, Problem, empty_gradients, register

__all__ = ["REFERENCE"]

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_CHUNK = 2**20  # components computed at once, at most, unless one row has more


def _chunks(p: Problem) -> Iterator[slice]:
    """Rows few enough that their components stay small beside the tensors of the problem."""
    batch, (n_out, n_in) = p.x.shape[0], p.loc.shape
    size = batch * (n_in + n_out) + 3 * n_out * n_in
    rows = max(1, min(_CHUNK, size // 5) // (n_out * n_in))
    for start in range(0, batch, rows):
        yield slice(start, start + rows)


def _components(x: Tensor, p: Problem, log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """The standardised inputs z, and each component's log-density plus log-weight."""
    z = (x.unsqueeze(1) - p.loc).div_(p.log_scale.exp())
    return z, z.square().mul_(-0.5).add_(log_weight - p.log_scale - _HALF_LOG_2PI)


def _forward(p: Problem) -> tuple[Tensor, Tensor, Tensor]:
    score = p.x.new_empty(p.x.shape[0], p.loc.shape[0])
    log_weight = p.logits.log_softmax(-1)
    for rows in _chunks(p):
        _, components = _components(p.x[rows], p, log_weight)
        torch.logsumexp(components, -1, out=score[rows])
    return score, p.x.new_empty(0), p.x.new_empty(0)


def _backward(
    grad: Tensor,
    _of_scores: Tensor,
    _of_parameters: Tensor,
    p: Problem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    log_weight, scale = p.logits.log_softmax(-1), p.log_scale.exp()
    by_x, by_loc, by_log_scale, by_logits = empty_gradients(p.x, p.loc, need_x, need_parameters)
    for by_parameter in (by_loc, by_log_scale, by_logits):
        by_parameter.zero_()
    for rows in _chunks(p):
        z, components = _components(p.x[rows], p, log_weight)
        w = torch.softmax(components, -1)
        del components
        # An infinite input has no gradient where its component has no responsibility.
        z.masked_fill_(w == 0, 0.0)
        w.mul_(grad[rows].unsqueeze(-1))
        by_mean = (w * z).div_(scale)
        if need_x:
            torch.sum(by_mean, 1, out=by_x[rows]).neg_()
        if need_parameters:
            by_loc += by_mean.sum(0)
            by_logits += w.sum(0)
            by_log_scale += z.square_().sub_(1).mul_(w).sum(0)
    if need_parameters:
        by_logits -= log_weight.exp() * grad.sum(0).unsqueeze(-1)
    return by_x, by_loc, by_log_scale, by_logits


REFERENCE = register(
    Kernel(
        name="mixture_log_score_reference",
        forward=_forward,
        backward=_backward,
        saved_shapes=lambda _batch, _n_out, _n_in: ((0,), (0,)),
        dispatch_key="CompositeExplicitAutograd",
    )
)
