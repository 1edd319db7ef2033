"""What a tilted Gaussian is asked of evidence, estimated with draws of a conditional proposal."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ugmm.density.conditional import ConditionalGaussians, DefensiveConditional
from ugmm.nn.checks import check_positive
from ugmm.nn.evidence import Draws, Evidence, Marginal

if TYPE_CHECKING:
    from ugmm.density.gaussian import Gaussian
    from ugmm.density.tilted import TiltedGaussian

__all__ = ["estimate_marginal", "weighted_draws"]

_SCRAMBLES = 16  # independent randomisations of the points, whose spread is the error
_TOGETHER = 2**14  # pairs of a row and a draw that are computed together,
_NUMBERS = 2**22  # or fewer, where their deviations from all Gaussians' means are more numbers
_LOWEST = -1e300  # stands for a score below what the network's type can hold


@torch.no_grad()
def estimate_marginal(
    density: "TiltedGaussian", evidence: Evidence, n: int, generator: torch.Generator
) -> Marginal:
    r"""Estimate log p of evidence by scrambled Sobol points of a `DefensiveConditional`.

    .. math::
        p(x_A) = \frac{b(x_A)}{Z} \, \mathrm{E}_{x_B \sim q(\cdot \mid x_A)} \left[
            \frac{b(x_B \mid x_A)}{q(x_B \mid x_A)} \sum_c \exp f(x, c) \right]

    with c over the classes that the label, where it is known, leaves. The error is that of the
    mean over 16 independent scramblings and that of log Z, which is `Marginal.shared`. All rows
    meet the same points: what one is answered does not depend on the rows beside it, and what is
    asked along a line changes smoothly.

    Args:
        density: A normalized one with a fixed score.
        evidence: Any, of m rows. Where everything is known, the answer is exact but for log Z;
            where nothing is, it is 0.
        n: Number of points, in all scramblings together; at least one in each.
        generator: On the CPU.
    """
    check_positive(n=n)
    evidence = evidence.to(density.log_z.device)
    points = _sobol_points(density.n_features + 1, n, generator).to(evidence.x.device)
    log_prob, error, effective = evidence.x.new_zeros(3, len(evidence), dtype=torch.float64)
    with density.score.prepared():
        for numbers, rows, proposal, most in _groups(density, evidence, len(points)):
            some = points[:1] if rows.known.all() else points
            logs = [
                _weigh(density, rows, proposal, proposal.place(*_split(part, proposal)))[2]
                for part in some.split(max(1, most // len(rows)))
            ]
            log_w = torch.cat(logs, 1)
            means = log_w.reshape(len(rows), min(len(some), _SCRAMBLES), -1)
            log_prob[numbers] = proposal.log_base + _log_mean(log_w)
            error[numbers] = _relative_error(_log_mean(means))
            effective[numbers] = _effective(log_w)
    return _answer(density, evidence, log_prob, error, effective)


@torch.no_grad()
def weighted_draws(
    density: "TiltedGaussian", evidence: Evidence, n: int, generator: torch.Generator
) -> Draws:
    """Return independent draws of a `DefensiveConditional`, with the weights that make them p's.

    The labels are drawn from their posteriors.

    Args:
        density: A normalized one with a fixed score.
        evidence: Any, of m rows.
        n: Number of draws for each row.
        generator: On the CPU.
    """
    check_positive(n=n)
    evidence = evidence.to(density.log_z.device)
    device, m = evidence.x.device, len(evidence)
    x = evidence.x.unsqueeze(1).repeat(1, n, 1)
    y = torch.empty(m, n, dtype=torch.long, device=device)
    log_w, log_base = (
        torch.empty(m, n, dtype=torch.float64, device=device),
        x.new_empty(m).double(),
    )
    with density.score.prepared():
        for numbers, rows, proposal, most in _groups(density, evidence, n):
            log_base[numbers] = proposal.log_base
            for columns in torch.arange(n).split(max(1, most // len(rows))):
                shape, at = (len(rows), len(columns)), (numbers[:, None], columns.to(device))
                choice = torch.rand(shape, generator=generator, dtype=torch.float64)
                normal = torch.randn(
                    *shape, len(proposal.free), generator=generator, dtype=torch.float64
                )
                free = proposal.place(choice.to(device), normal.to(device))
                whole, scores, log_w[at] = _weigh(density, rows, proposal, free)
                x[at] = torch.where(rows.known.unsqueeze(1), x[at], whole.to(x.dtype))
                posterior = scores.softmax(-1).flatten(0, 1).cpu()
                drawn = torch.multinomial(posterior, 1, generator=generator)
                y[at] = drawn.reshape(shape).to(device)
    log_mean = _log_mean(log_w)
    error = _relative_error(log_w)
    marginal = _answer(density, evidence, log_base + log_mean, error, _effective(log_w))
    return Draws(x, y, log_w - log_mean.unsqueeze(1) - math.log(n), marginal)


def _groups(
    density: "TiltedGaussian", evidence: Evidence, n: int
) -> Iterator[tuple[Tensor, Evidence, DefensiveConditional, int]]:
    """Yield rows that share a mask, as few at a time as memory asks for.

    Yields:
        Their numbers, the rows, their proposal, and how many of their draws, n for each, may be
        computed together.
    """
    parts = cast("list[Gaussian]", list(density.proposal.parts))
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
    density: "TiltedGaussian", rows: Evidence, proposal: DefensiveConditional, free: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Complete rows by draws (m, k, b), and weigh them.

    Returns:
        The rows, (m, k, D), float64; the scores of the classes that their labels leave,
        (m, k, C); the logarithms of the weights, whose means are Z p(x_A) / b(x_A), (m, k).
    """
    x = rows.x.double().unsqueeze(1).repeat(1, free.shape[1], 1)
    x[..., proposal.free] = free
    dtype = next(density.score.parameters()).dtype
    scores = density.score.class_scores(x.to(dtype)).double().clamp(min=_LOWEST)
    scores = rows.restrict(scores)
    return x, scores, scores.logsumexp(-1) + proposal.log_ratio(free)


def _sobol_points(width: int, n: int, generator: torch.Generator) -> Tensor:
    """Return n points or a few fewer, one scrambling after the other: (scramblings * k, width).

    A point is in the open unit cube; without its last coordinates it is one in fewer dimensions.
    """
    first = int(torch.randint(2**40, (1,), generator=generator))
    each = max(1, n // _SCRAMBLES)
    engine = torch.quasirandom.SobolEngine
    found = [engine(width, scramble=True, seed=first + index) for index in range(_SCRAMBLES)]
    return torch.cat([one.draw(each, dtype=torch.float64) for one in found]) + 2**-31


def _split(points: Tensor, proposal: DefensiveConditional) -> tuple[Tensor, Tensor]:
    """Return what of points `DefensiveConditional.place` makes draws of."""
    return points[:, 0], torch.special.ndtri(points[:, 1 : 1 + len(proposal.free)])


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


def _answer(
    density: "TiltedGaussian",
    evidence: Evidence,
    log_zp: Tensor,
    error: Tensor,
    effective: Tensor,
) -> Marginal:
    """Return the answer from log Z + log p: 0 where nothing is known."""
    nothing = (evidence.y < 0) & ~evidence.known.any(1)
    shared = density.log_z_error.expand_as(error).masked_fill(nothing, 0)
    error = torch.hypot(error.masked_fill(nothing | evidence.known.all(1), 0), shared)
    log_prob = (log_zp - density.log_z).masked_fill(nothing, 0)
    return Marginal(log_prob, error, effective.masked_fill(nothing, 1), not error.any(), shared)
