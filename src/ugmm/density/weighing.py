"""What a tilted Gaussian is asked of evidence, estimated with draws of a conditional proposal."""

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from ugmm.density.conditional import ConditionalGaussians, DefensiveConditional
from ugmm.density.gaussian import Gaussian, GaussianMixture
from ugmm.nn import JointScore
from ugmm.nn.checks import check_positive
from ugmm.nn.evidence import Draws, Evidence, Marginal

__all__ = ["estimate_marginal", "weighted_draws"]

_SCRAMBLES = 16  # independent randomisations of the points, whose spread is the error
_TOGETHER = 2**14  # pairs of a row and a draw that are computed together,
_NUMBERS = 2**22  # or fewer, where their deviations from all Gaussians' means are more numbers
_LOWEST = -1e300  # stands for a score below what the network's type can hold


@torch.no_grad()
def estimate_marginal(
    score: JointScore,
    proposal: GaussianMixture,
    evidence: Evidence,
    n: int,
    generator: torch.Generator,
) -> Marginal:
    r"""Estimate log Z p of evidence by scrambled Sobol points of a `DefensiveConditional`.

    .. math::
        Z \, p(x_A) = b(x_A) \, \mathrm{E}_{x_B \sim q(\cdot \mid x_A)} \left[
            \frac{b(x_B \mid x_A)}{q(x_B \mid x_A)} \sum_c \exp f(x, c) \right]

    with c over the classes that the label, where it is known, leaves. The error is that of the
    mean over 16 independent scramblings. All rows meet the same points: what one is answered does
    not depend on the rows beside it, and what is asked along a line changes smoothly.

    Args:
        score: f, a fixed one.
        proposal: The base and the classes' Gaussians.
        evidence: Any, of m rows.
        n: Number of points, in all scramblings together; at least one in each.
        generator: On the CPU.
    """
    check_positive(n=n)
    evidence = evidence.to(proposal.shares.device)
    points = _sobol_points(evidence.x.shape[1] + 1, n, generator).to(evidence.x.device)
    log_prob, error, effective = evidence.x.new_zeros(3, len(evidence), dtype=torch.float64)
    with score.prepared():
        for numbers, rows, conditional, most in _groups(proposal, evidence, len(points)):
            some = points[:1] if rows.known.all() else points
            logs = []
            for part in some.split(max(1, most // len(rows))):
                normal = torch.special.ndtri(part[:, 1 : 1 + len(conditional.free)])
                free = conditional.place(part[:, 0], normal)
                logs.append(_weigh(score, rows, conditional, free)[2])
            log_w = torch.cat(logs, 1)
            means = log_w.reshape(len(rows), min(len(some), _SCRAMBLES), -1)
            log_prob[numbers] = conditional.log_base + _log_mean(log_w)
            error[numbers] = _relative_error(_log_mean(means)) if len(some) > 1 else 0
            effective[numbers] = _effective(log_w)
    return Marginal(log_prob, error, effective, not error.any())


@torch.no_grad()
def weighted_draws(
    score: JointScore,
    proposal: GaussianMixture,
    evidence: Evidence,
    n: int,
    generator: torch.Generator,
) -> Draws:
    """Return independent draws of a `DefensiveConditional`, with the weights that make them p's.

    The labels are drawn from their posteriors.

    Args:
        score: f, a fixed one.
        proposal: The base and the classes' Gaussians.
        evidence: Any, of m rows.
        n: Number of draws for each row.
        generator: On the CPU.
    """
    check_positive(n=n)
    evidence = evidence.to(proposal.shares.device)
    device, m = evidence.x.device, len(evidence)
    x = evidence.x.unsqueeze(1).repeat(1, n, 1)
    y = torch.empty(m, n, dtype=torch.long, device=device)
    log_w = x.new_empty(m, n, dtype=torch.float64)
    log_base = x.new_empty(m, dtype=torch.float64)
    with score.prepared():
        for numbers, rows, conditional, most in _groups(proposal, evidence, n):
            log_base[numbers] = conditional.log_base
            for columns in torch.arange(n).split(max(1, most // len(rows))):
                shape, at = (len(rows), len(columns)), (numbers[:, None], columns.to(device))
                choice = torch.rand(shape, generator=generator, dtype=torch.float64)
                normal = torch.randn(
                    *shape, len(conditional.free), generator=generator, dtype=torch.float64
                )
                free = conditional.place(choice.to(device), normal.to(device))
                whole, scores, log_w[at] = _weigh(score, rows, conditional, free)
                x[at] = torch.where(rows.known.unsqueeze(1), x[at], whole.to(x.dtype))
                posterior = scores.softmax(-1).flatten(0, 1).cpu().nan_to_num(1)  # weights tell
                drawn = torch.multinomial(posterior, 1, generator=generator)
                y[at] = drawn.reshape(shape).to(device)
    log_mean = _log_mean(log_w)
    error = _relative_error(log_w).masked_fill(evidence.known.all(1), 0)
    marginal = Marginal(log_base + log_mean, error, _effective(log_w), not error.any())
    return Draws(x, y, log_w - log_mean.unsqueeze(1) - math.log(n), marginal)


def _groups(
    proposal: GaussianMixture, evidence: Evidence, n: int
) -> Iterator[tuple[Tensor, Evidence, DefensiveConditional, int]]:
    """Yield rows that share a mask, as few at a time as memory asks for.

    Yields:
        Their numbers, the rows, their conditional proposal, and how many of their draws, n for
        each, may be computed together.
    """
    parts = cast("list[Gaussian]", list(proposal.parts))
    means = torch.stack([part.mean.double() for part in parts])
    trils = torch.stack([part.tril.double() for part in parts])
    for mask, numbers in evidence.patterns():
        gaussians = ConditionalGaussians(means, trils, mask)
        width = len(parts) * max(1, len(gaussians.free))
        most = max(1, min(_TOGETHER, _NUMBERS // width))
        for some in numbers.split(max(1, most // n)):
            rows = evidence[some]
            yield some, rows, DefensiveConditional(gaussians, rows), most


def _weigh(
    score: JointScore, rows: Evidence, conditional: DefensiveConditional, free: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Complete rows by draws (m, k, b), and weigh them.

    Returns:
        The rows, (m, k, D), float64; the scores of the classes that their labels leave,
        (m, k, C); the logarithms of the weights, whose means are Z p(x_A) / b(x_A), (m, k).
    """
    x = rows.x.double().unsqueeze(1).repeat(1, free.shape[1], 1)
    x[..., conditional.free] = free
    dtype = next(score.parameters()).dtype
    scores = score.class_scores(x.to(dtype)).double().clamp(min=_LOWEST)
    scores = rows.restrict(scores)
    return x, scores, scores.logsumexp(-1) + conditional.log_ratio(free)


def _sobol_points(width: int, n: int, generator: torch.Generator) -> Tensor:
    """Return n points or a few fewer, one scrambling after the other: (scramblings * k, width).

    A point is in the open unit cube; without its last coordinates it is one in fewer dimensions.
    """
    first = int(torch.randint(2**40, (1,), generator=generator))
    each = max(1, n // _SCRAMBLES)
    engine = torch.quasirandom.SobolEngine
    found = [engine(width, scramble=True, seed=first + index) for index in range(_SCRAMBLES)]
    return torch.cat([one.draw(each, dtype=torch.float64) for one in found]) + 2**-31


def _log_mean(logs: Tensor) -> Tensor:
    return logs.logsumexp(-1) - math.log(logs.shape[-1])


def _relative_error(logs: Tensor) -> Tensor:
    """Return the standard error of the mean of exp(logs) (..., k), as a share of it: (...)."""
    k = logs.shape[-1]
    if k == 1:  # nobody knows
        return torch.full_like(logs[..., 0], math.inf)
    off = (logs - _log_mean(logs).unsqueeze(-1)).expm1()
    return (off.square().mean(-1) / (k - 1)).sqrt()


def _effective(log_w: Tensor) -> Tensor:
    return (2 * _log_mean(log_w) - _log_mean(2 * log_w)).exp().clamp(max=1)
