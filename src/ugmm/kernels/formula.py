"""The operations as they are written down: plain operations of torch, differentiable at will.

They know every transform of torch.func, forward mode, derivatives of any order and tracing, but
hold a number for each row and component, and several of these for backward.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ugmm.kernels.problem import CumulativeProblem, Problem
from ugmm.kernels.roads import untraced

__all__ = [
    "component", "cumulated", "gradients_by_formula", "logaddexp", "score_by_formula",
]  # fmt: skip

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def score_by_formula(problem: Problem | CumulativeProblem) -> Tensor:
    """The scores of a problem."""
    if isinstance(problem, CumulativeProblem):
        return _cumulative(problem)
    p = problem._replace(log_scale=problem.log_scales(), min_scale=0.0)
    if p.known is None:
        return _components(p, p.logits.log_softmax(-1)).logsumexp(-1)
    unknown = ~p.known
    p = p._replace(x=p.x.masked_fill(unknown, 0.0))
    logits = p.logits.masked_fill(unknown.unsqueeze(-2), -torch.inf)
    nothing = (logits == -torch.inf).all(-1, keepdim=True)  # is known: a density of 1
    parts = (t.masked_fill(nothing, 0.0) for t in (_components(p, logits), logits))
    return torch.sub(*(part.logsumexp(-1) for part in parts))


def gradients_by_formula(
    grad: Tensor, problem: Problem | CumulativeProblem, needs: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The gradients by a problem's tensors, None where not needed.

    Where gradients are recorded they can be differentiated again, by `grad` too.
    """
    with torch.enable_grad():
        # Names of their own: a tensor may be there twice, or be computed from another.
        inputs = [v.view_as(v) if isinstance(v, Tensor) else v for v in problem]
        scores = score_by_formula(type(problem)(*inputs))  # type: ignore[arg-type]
    wanted: list[Any] = [value for value, need in zip(inputs, needs, strict=False) if need]
    found = iter(torch.autograd.grad(scores, wanted, grad, create_graph=torch.is_grad_enabled()))
    return tuple(next(found) if need else None for need in needs)


def _components(p: Problem | CumulativeProblem, log_weight: Tensor) -> Tensor:
    """Each component's log-density plus log-weight, (batch, out, in)."""
    return component(p.x.unsqueeze(-2), p.loc, p.log_scale, log_weight)


def component(x: Tensor, loc: Tensor, log_scale: Tensor, log_weight: Tensor) -> Tensor:
    """A component's log-density plus log-weight, of tensors that fit to each other."""
    distance, rate = x - loc, (-log_scale).exp()
    # Beyond all numbers: a score of -inf and no gradient, where the formula would have 0 * inf.
    far = (distance * rate).square().isinf()
    z = distance.masked_fill(far, 0.0) * rate
    level = log_weight - log_scale - _HALF_LOG_2PI
    return (level - 0.5 * z.square()).masked_fill(far, -torch.inf)


def _cumulative(p: CumulativeProblem) -> Tensor:
    components = _components(p, p.logits)[..., :-1]
    scores = cumulated(torch.cat([p.start.unsqueeze(-1), components], -1)).transpose(1, 2)
    return scores if p.positions is None else scores.index_select(1, p.positions)


def cumulated(terms: Tensor) -> Tensor:
    """As torch.logcumsumexp along the last dimension, with derivatives of any order.

    That has no second derivative where a gradient is 0, and none at all where a sum is empty.
    """
    shift, n, sums = 1, _width(terms), terms
    while shift < n:  # sums of twice as many terms at each step
        added = logaddexp(sums[..., shift:], sums[..., :-shift])
        sums = torch.cat([sums[..., :shift], added], -1)
        shift *= 2
    return sums


@untraced
def _width(tensor: Tensor) -> int:
    return tensor.shape[-1]


def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """As torch.logaddexp, with derivatives of any order where one or both are -inf."""
    top = torch.maximum(a, b).detach()
    nothing = top == -torch.inf
    top = top.masked_fill(nothing, 0.0)
    total = ((a - top).exp() + (b - top).exp()).masked_fill(nothing, 1.0)
    return (total.log() + top).masked_fill(nothing, -torch.inf)
