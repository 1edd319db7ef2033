"""The definition of the operations, in plain PyTorch: any device, float32 and float64."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ugmm.kernels.definition import Kernel, register
from ugmm.kernels.problem import CumulativeProblem, Problem

__all__ = ["CUMULATIVE_REFERENCE", "KERNEL", "REFERENCE"]

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_CHUNK = 2**20  # components computed at once, at most, unless one row has more


def _chunks(p: Problem | CumulativeProblem) -> Iterator[slice]:
    """Rows few enough that their components stay small beside the tensors of the problem."""
    batch, (n_out, n_in) = p.x.shape[0], p.loc.shape
    size = batch * (n_in + n_out) + 3 * n_out * n_in
    rows = max(1, min(_CHUNK, size // 5) // (n_out * n_in))
    for start in range(0, batch, rows):
        yield slice(start, start + rows)


def _components(
    x: Tensor, p: Problem | CumulativeProblem, log_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """The standardised inputs z, and each component's log-density plus log-weight."""
    z = (x.unsqueeze(1) - p.loc).div_(p.log_scale.exp())
    return z, z.square().mul_(-0.5).add_(log_weight - p.log_scale - _HALF_LOG_2PI)


def _terms(p: Problem, rows: slice, log_weight: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Of some rows z; the components; and, where inputs are unknown, the kept log-weights."""
    x, known = p.x[rows], None if p.known is None else p.known[rows].unsqueeze(1)
    if known is None:
        return *_components(x, p, log_weight), None
    z, components = _components(x.masked_fill(~known.squeeze(1), 0.0), p, log_weight)
    weights = torch.where(known, log_weight, -torch.inf)
    return z, components.masked_fill_(~known, -torch.inf), weights


def _forward(p: Problem) -> tuple[Tensor, Tensor, Tensor]:
    p = p._replace(log_scale=p.log_scales())
    score = p.x.new_empty(p.score_shape())
    log_weight = p.logits.log_softmax(-1)
    for rows in _chunks(p):
        _, components, weights = _terms(p, rows, log_weight)
        torch.logsumexp(components, -1, out=score[rows])
        if weights is not None:
            kept = weights.logsumexp(-1)
            score[rows].sub_(kept).masked_fill_(kept == -torch.inf, 0.0)  # nothing is known
    return score, p.x.new_empty(0), p.x.new_empty(0)


def _backward(
    grad: Tensor,
    _of_scores: Tensor,
    _of_parameters: Tensor,
    p: Problem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    raw, p = p.log_scale, p._replace(log_scale=p.log_scales())
    log_weight, scale = p.logits.log_softmax(-1), p.log_scale.exp()
    by_x, by_loc, by_log_scale, by_logits = p.empty_gradients(need_x, need_parameters)
    for by_parameter in (by_loc, by_log_scale, by_logits):
        by_parameter.zero_()
    for rows in _chunks(p):
        z, components, weights = _terms(p, rows, log_weight)
        w = torch.softmax(components, -1)
        del components
        if weights is not None:
            left_out = weights == -torch.inf
            w.masked_fill_(left_out, 0.0)
            if need_parameters:
                kept = torch.softmax(weights, -1).masked_fill_(left_out, 0.0)
                by_logits -= kept.mul_(grad[rows].unsqueeze(-1)).sum(0)
                del kept
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
        by_log_scale.mul_((raw - p.log_scale).exp())
        if p.known is None:
            by_logits -= log_weight.exp() * grad.sum(0).unsqueeze(-1)
    return by_x, by_loc, by_log_scale, by_logits


KERNEL = Kernel(
    name="mixture_log_score_reference",
    forward=_forward,
    backward=_backward,
    saved_shapes=lambda _problem: ((0,), (0,)),
    dispatch_key="CompositeExplicitAutograd",
)
REFERENCE = register(KERNEL)


def _used(p: CumulativeProblem) -> tuple[CumulativeProblem, slice | Tensor]:
    """The problem without the inputs that are in no wanted prefix; and the wanted prefixes."""
    wanted: slice | Tensor = slice(None) if p.positions is None else p.positions
    last = p.x.shape[1] - 1
    if p.positions is not None:
        last = int(p.positions[-1]) if len(p.positions) else 0
    x, loc, log_scale, logits = (tensor[:, :last] for tensor in p[:4])
    return CumulativeProblem(x, loc, log_scale, logits, *p[4:]), wanted


def _cumulated(rows: slice, p: CumulativeProblem) -> tuple[Tensor, Tensor, Tensor]:
    """Of some rows z; start and the components, (rows, out, 1 + in); and their log-sums so far."""
    z, components = _components(p.x[rows], p, p.logits)
    terms = torch.cat([p.start[rows].unsqueeze(-1), components], -1)
    return z, terms, terms.logcumsumexp(-1)


def _cumulative_forward(p: CumulativeProblem) -> tuple[Tensor, Tensor, Tensor]:
    score, (used, wanted) = p.x.new_empty(p.score_shape()), _used(p)
    for rows in _chunks(p):
        score[rows] = _cumulated(rows, used)[2][..., wanted].transpose(1, 2)
    return score, p.x.new_empty(0), p.x.new_empty(0)


def _cumulative_backward(
    grad: Tensor,
    _of_scores: Tensor,
    _of_parameters: Tensor,
    p: CumulativeProblem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    used, wanted = _used(p)
    scale, last = used.log_scale.exp(), used.x.shape[1]
    results = p.empty_gradients(need_x, need_parameters)
    for result in results:
        result.zero_()
    by_x, by_loc, by_log_scale, by_logits = (result[:, :last] for result in results[:4])
    for rows in _chunks(p):
        z, terms, sums = _cumulated(rows, used)
        g = torch.zeros_like(sums)
        g[..., wanted] = grad[rows].transpose(1, 2)
        h = torch.zeros_like(terms)  # a term's gradient: g times its ratios to the sums it is in
        for sign in (1, -1):
            logs = (sign * g).clamp_(min=0).log_().sub_(sums)
            logs.masked_fill_(sums == -torch.inf, -torch.inf)  # of no term
            h += logs.flip(-1).logcumsumexp(-1).flip(-1).add_(terms).exp_().mul_(sign)
        results[4][rows] = h[..., 0]
        h = h[..., 1:]
        z.masked_fill_(h == 0, 0.0)
        by_mean = (h * z).div_(scale)
        if need_x:
            by_x[rows] = -by_mean.sum(1)
        if need_parameters:
            by_loc += by_mean.sum(0)
            by_logits += h.sum(0)
            by_log_scale += z.square_().sub_(1).mul_(h).sum(0)
    return results


CUMULATIVE_REFERENCE = register(
    Kernel(
        name="cumulative_log_score_reference",
        forward=_cumulative_forward,
        backward=_cumulative_backward,
        saved_shapes=lambda _problem: ((0,), (0,)),
        dispatch_key="CompositeExplicitAutograd",
        problem=CumulativeProblem,
    )
)
