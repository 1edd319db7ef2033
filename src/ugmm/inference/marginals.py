"""How probable evidence is."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ugmm.inference.asking import Asked, alike, check_density, check_evidence, generator_of
from ugmm.inference.weights import TOO_FAR
from ugmm.nn.checks import check_positive
from ugmm.nn.evidence import Evidence, Marginal, Queryable

__all__ = ["marginal"]

_ROWS = 1024  # rows that are answered together where no draws are needed


@torch.no_grad()
def marginal(density: Queryable, evidence: Evidence, *, n: int = 8192, seed: int = 0) -> Marginal:
    """Return log p of the evidence: what is not known is integrated, or summed, out.

    A row's answer depends on that row and the seed alone: not on the other rows.

    Args:
        density: Of D features and C classes.
        evidence: Rows in model units.
        n: Draws (or points) for each row, where the answer is not exact.
        seed: Seed of the draws.

    Raises:
        ValueError: If the density cannot be queried, or the evidence is not of its kind.
    """
    check_positive(n=n)
    asked = check_density(density)
    evidence = check_evidence(asked, evidence)
    values = torch.zeros(4, len(evidence), dtype=torch.float64, device=evidence.x.device)
    is_exact = True
    with asked.prepared():
        for rows in alike(evidence):
            for part, answer in _answers(asked, evidence, rows, n, seed):
                values[:3, part] = torch.stack(answer[:3])
                if answer.shared is not None:
                    values[3, part] = answer.shared
                is_exact &= answer.is_exact
    if (wrong := values.isnan().any(0)).any():
        raise ValueError(f"row {int(wrong.nonzero()[0])}: {TOO_FAR}")
    return Marginal(values[0], values[1], values[2], is_exact, values[3])


def _answers(
    density: Asked, evidence: Evidence, rows: Tensor, n: int, seed: int
) -> Iterator[tuple[Tensor, Marginal]]:
    """Answer rows that are alike: together if no draws are needed, else each by its own."""
    first = density.marginal(evidence[rows[:1]], n, generator_of(seed))
    yield rows[:1], first
    if len(rows) > 1:
        for part in rows[1:].split(_ROWS if first.is_settled else 1):
            yield part, density.marginal(evidence[part], n, generator_of(seed))
