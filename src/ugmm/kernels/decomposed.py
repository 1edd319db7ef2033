"""The operators in standard ones, for graphs that run where this package is not: ONNX, archives.

No derivatives are asked for there, and nothing fuses what is written here. So a layer's neurons
come a few at a time: what is held between two operations stays in a processor's cache instead of
being a number for each row and component, and is exact where `formula` is.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ugmm.kernels.formula import cumulated
from ugmm.kernels.problem import CumulativeProblem, Problem

__all__ = ["decomposed_score"]

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_COMPONENTS = 8192  # at once


def decomposed_score(problem: Problem | CumulativeProblem) -> Tensor:
    """The scores of a problem, by operations that any runtime has."""
    if isinstance(problem, CumulativeProblem):
        return _cumulative(problem)
    p = problem._replace(log_scale=problem.log_scales(), min_scale=0.0)
    if p.known is None:
        weighted = p._replace(logits=p.logits.log_softmax(-1))
        return _joined([_log_sum(components) for components in _components(weighted)])
    unknown, parts = ~p.known.unsqueeze(1), []
    p = p._replace(x=p.x.masked_fill(~p.known, 0.0))
    for components, logits in zip(_components(p), _neurons(p.logits), strict=True):
        kept = _log_sum(torch.where(unknown, -torch.inf, logits))
        score = _log_sum(components.masked_fill(unknown, -torch.inf)) - kept
        parts.append(score.masked_fill(kept == -torch.inf, 0.0))  # nothing is known
    return _joined(parts)


def _cumulative(p: CumulativeProblem) -> Tensor:
    parts = []
    first = 0
    for components in _components(p):
        start = p.start[:, first : (first := first + components.shape[1])].unsqueeze(-1)
        parts.append(cumulated(torch.cat([start, components[..., :-1]], -1)).transpose(1, 2))
    scores = _joined(parts)
    return scores if p.positions is None else scores.index_select(1, p.positions)


def _components(p: Problem | CumulativeProblem) -> Iterator[Tensor]:
    """Each component's log-density plus its logit, (batch, some neurons, in)."""
    # Beyond all numbers a square is infinite, and the component -inf as it should be.
    rate = math.sqrt(0.5) * (-p.log_scale).exp()
    level, x = p.logits - p.log_scale - _HALF_LOG_2PI, p.x.unsqueeze(1)
    for loc, some_rate, some_level in zip(*map(_neurons, (p.loc, rate, level)), strict=True):
        z = (x - loc) * some_rate
        yield some_level - z * z


def _neurons(parameter: Tensor) -> list[Tensor]:
    """A parameter's rows in parts, each of so many components."""
    count = max(1, _COMPONENTS // parameter.shape[1])
    return [parameter[start : start + count] for start in range(0, len(parameter), count)]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _log_sum(terms: Tensor) -> Tensor:
    """As torch.logsumexp along the last dimension, which ONNX Runtime does six times slower."""
    top = terms.amax(-1, keepdim=True).clamp(min=torch.finfo(terms.dtype).min)
    return (terms - top).exp().sum(-1).log() + top.squeeze(-1)
