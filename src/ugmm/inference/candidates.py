"""Candidates for a most probable completion: scored with every label, chosen from, enumerated."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.nn.classifier import Density
from ugmm.nn.evidence import UNKNOWN, Evidence

__all__ = [
    "Choice",
    "Found",
    "at_once",
    "best_labels",
    "distinct_tops",
    "dtype_of",
    "enumerate_all",
    "stacked",
    "taken",
]

_CELLS = 2**23  # at once: rows of the network times its parameters, about what it holds of them
_MOST_ROWS = 2**13
_POOL = 400  # the best points that distinct ones are chosen from
_SET_BACK = 1e9  # of what lies close to a point that was chosen


class Found(NamedTuple):
    """What a search found for n rows of evidence.

    Attributes:
        x: (n, D), float64.
        y: (n,).
        log_prob: log p(x, y), (n,), float64.
        agreed: How many of the starts ended there, (n,).
    """

    x: Tensor
    y: Tensor
    log_prob: Tensor
    agreed: Tensor


class Choice(NamedTuple):
    """Features that together hold one of a few rows of values, as a one-hot code does.

    Attributes:
        features: Their numbers, (m,).
        values: (K, m).
    """

    features: Tensor
    values: Tensor

    def allowed(self, evidence: Evidence) -> Tensor:
        """Return which of the K rows of values agree with what is known: (n, K)."""
        x, known = (t[:, None, self.features] for t in (evidence.x, evidence.known))
        same = torch.isclose(x, self.values.to(x), rtol=1e-4, atol=1e-5)
        return (same | ~known).all(-1)


def at_once(density: Density) -> int:
    """Return how many rows the density is asked about at once, so that memory is bounded."""
    return max(16, min(_MOST_ROWS, _CELLS // max(1, density.n_parameters())))


@torch.no_grad()
def best_labels(density: Density, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Find the best label of each of k completions of n rows; a known label stays.

    Args:
        density: The density.
        x: (n, k, D).
        y: (n,), `UNKNOWN` where a label is not known.

    Returns:
        log p(x, y), -inf in the place of NaN, (n, k) float64, and the labels, (n, k).
    """
    dtype = dtype_of(density)
    parts = x.flatten(0, 1).to(dtype).split(at_once(density))
    scores = torch.cat([density.class_scores(part).double() for part in parts])
    scores = scores.nan_to_num(nan=-torch.inf).reshape(*x.shape[:2], -1)
    labels = torch.arange(scores.shape[-1], device=x.device)
    wrong = (y.unsqueeze(1) != UNKNOWN) & (y.unsqueeze(1) != labels)
    return taken(scores.masked_fill(wrong.unsqueeze(1), -torch.inf))


def dtype_of(density: Density) -> torch.dtype:
    """Return the floating-point type of a density's parameters, or of its constants."""
    tensors = [*density.parameters(), *density.buffers()]
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)


def taken(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest of the last dimension and where it stands."""
    best = scores.max(-1)
    return best.values, best.indices


def distinct_tops(x: Tensor, y: Tensor, value: Tensor, k: int, radius: Tensor) -> Tensor:
    """Return the numbers of the k best points of each row of which no two lie close together.

    Points lie close if they share a label and differ by no more than the radius in each feature.
    Where there are fewer than k others, the best of those that lie close fill up.

    Args:
        x: Points, (n, S, D).
        y: Their labels, (n, S).
        value: Their log-probabilities, (n, S).
        k: How many.
        radius: (n, D).

    Returns:
        (n, k), or (n, S) if there are fewer points.
    """
    pool = value.topk(min(_POOL if k <= _POOL // 4 else 4 * k, value.shape[1]))
    left, numbers = pool.values.clone(), pool.indices
    x, y = x.gather(1, numbers.unsqueeze(-1).expand(-1, -1, x.shape[-1])), y.gather(1, numbers)
    chosen = []
    for _ in range(min(k, left.shape[1])):
        best = left.argmax(1, keepdim=True)
        chosen.append(numbers.gather(1, best))
        centre = x.gather(1, best.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        close = ((x - centre).abs() <= radius.unsqueeze(1)).all(-1) & (y == y.gather(1, best))
        left = torch.where(close, left - _SET_BACK, left)
        left.scatter_(1, best, -torch.inf)
    return torch.cat(chosen, 1)


def enumerate_all(density: Density, evidence: Evidence, choices: Sequence[Choice]) -> Found:
    """Try every combination of choices and labels: exact where nothing else is free."""
    found = []
    picks = (
        torch.cartesian_prod(*(torch.arange(len(c.values)) for c in choices)) if choices else []
    )
    picks = torch.as_tensor(picks, dtype=torch.long).reshape(-1, len(choices))
    picks = picks if choices else torch.zeros(1, 0, dtype=torch.long)
    rows = max(1, at_once(density) // len(picks))
    for part in evidence.split(rows):
        x = part.x.unsqueeze(1).repeat(1, len(picks), 1)
        fits = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for choice, pick in zip(choices, picks.T.to(x.device), strict=True):
            x[:, :, choice.features] = choice.values.to(x)[pick]
            fits &= choice.allowed(part)[:, pick]
        value, label = best_labels(density, x, part.y)
        log_prob, best = taken(value.masked_fill(~fits, -torch.inf))
        row = torch.arange(len(part), device=x.device)
        # What is known stays as it was given, not as the rounded values of a choice have it.
        x_best = torch.where(part.known, part.x, x[row, best])
        found.append(Found(x_best, label[row, best], log_prob, torch.ones_like(best)))
    return stacked(found)


def stacked(found: Iterable[Found]) -> Found:
    """Join what was found for parts of the rows."""
    return Found(*(torch.cat(parts) for parts in zip(*found, strict=True)))
