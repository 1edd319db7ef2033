"""Which class a row is of, as a density tells it where some of the features are not known."""

import torch
from torch import Tensor

from ugmm.inference.asking import Asked, alike, check_density, check_evidence, generator_of
from ugmm.inference.weights import TOO_FAR, draws_of, effective, error_factor
from ugmm.nn.checks import check_positive
from ugmm.nn.evidence import UNKNOWN, Evidence, Marginal, Queryable

__all__ = ["density_posterior"]

_PROBE = 64  # draws by which a density shows whether it answers exactly
_LEAST = 16  # draws: of fewer, an error cannot be told
_ROWS = 1024  # rows, or draws of a row, that are computed together


@torch.no_grad()
def density_posterior(
    density: Queryable, evidence: Evidence, n: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, bool]:
    r"""Return the classes' posterior given the features that are known; labels are not looked at.

    It is exact where all features are known, or where the density's marginals are exact:
    :math:`p(c \mid x_A) = p(x_A, c) / p(x_A)`. Else it is an average over weighted draws of what
    is not known,

    .. math::
        p(c \mid x_A) \approx \sum_i w_i \, p(c \mid x_A, x_B^{(i)}),

    which varies less than the share of draws of a class (Rao and Blackwell).

    Args:
        density: Of D features and C classes.
        evidence: Rows in model units.
        n: Draws for each row, where the answer is not exact; at least 16 are made.
        seed: Seed of the draws: a row's answer depends on it and that row alone.

    Returns:
        probs: (rows, C), float64.
        error: Their standard errors, (rows, C), float64; 0 where the answer is exact.
        effective: The effective share of the draws, (rows,), float64; 1 where it is exact.
        is_exact: Whether all rows' answers are exact, up to rounding.

    Raises:
        ValueError: If the density cannot be queried, or the evidence is not of its kind.
    """
    check_positive(n=n)
    n = max(n, _LEAST)
    asked = check_density(density)
    unlabelled = Evidence(evidence.x, evidence.known, torch.full_like(evidence.y, UNKNOWN))
    evidence = check_evidence(asked, unlabelled)
    shape = (len(evidence), asked.n_classes)
    probs = torch.empty(shape, dtype=torch.float64, device=evidence.x.device)
    error, share, is_exact = torch.zeros_like(probs), torch.ones_like(probs[:, 0]), True
    with asked.prepared():
        for rows in alike(evidence):
            answer = _answer(asked, evidence[rows[:1]])
            if answer.is_settled:
                for part in rows.split(_ROWS):
                    probs[part] = _by_marginals(asked, evidence[part])
                is_exact &= answer.is_exact
                continue
            is_exact = False
            for row in rows.tolist():
                one = evidence[row : row + 1]
                probs[row], error[row], share[row] = _by_draws(asked, one, n, row, seed)
    if (wrong := probs.isnan().any(1)).any():
        raise ValueError(f"row {int(wrong.nonzero()[0])}: {TOO_FAR}")
    return probs, error, share, is_exact


def _answer(density: Asked, row: Evidence) -> Marginal:
    """Return the marginal of a row and a label: it tells whether draws are needed."""
    if row.known.all():
        return Marginal.exact(torch.zeros(1))
    return density.marginal(row.with_label(0), _PROBE, generator_of(0))


def _by_marginals(density: Asked, rows: Evidence) -> Tensor:
    """Return the posteriors of rows (m, D) whose marginals need no draws: (m, C)."""
    if rows.known.all():
        return density.posterior(rows.x).double()
    each = [
        density.marginal(rows.with_label(c), 1, generator_of(0)).log_prob
        for c in range(density.n_classes)
    ]
    return torch.stack(each, -1).softmax(-1)


def _by_draws(
    density: Asked, row: Evidence, n: int, number: int, seed: int
) -> tuple[Tensor, Tensor, float]:
    """Return one row's posterior (C,), its errors (C,), and the draws' effective share."""
    try:
        draws = draws_of(density, row, n, generator_of(seed))
    except ValueError as refused:
        raise ValueError(f"row {number}: {refused}") from refused
    parts = draws.x[0].to(row.x).split(_ROWS)
    each = torch.cat([density.posterior(part).double() for part in parts])
    weight = draws.log_weight[0].exp().unsqueeze(1)
    probs = (weight * each).sum(0)
    error = (weight * (each - probs)).square().sum(0).sqrt()
    return probs, error * error_factor(draws), effective(draws) / n
