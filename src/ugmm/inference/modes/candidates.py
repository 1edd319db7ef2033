"""Candidates for a most probable completion: scored with every label, chosen from, enumerated."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.nn import Density
from ugmm.nn.evidence import Evidence

__all__ = [
    "Choice",
    "Found",
    "at_once",
    "best_labels",
    "distinct_tops",
    "dtype_of",
    "enumerate_all",
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

    @classmethod
    def best_of(cls, x: Tensor, y: Tensor, log_prob: Tensor, same: float) -> "Found":
        """Return the best of K ends for each row: (n, K, D), (n, K) and (n, K).

        Args:
            x: Where they are.
            y: Their labels.
            log_prob: Their log-probabilities.
            same: Ends that are worse by no more than this agree with the best.
        """
        best, pick = taken(log_prob)
        row = torch.arange(len(x), device=x.device)
        agreed = (log_prob >= best.unsqueeze(1) - same).sum(1)
        return cls(x[row, pick].double(), y[row, pick], best, agreed)

    def or_better(self, other: "Found") -> "Found":
        """Return the other's where that is better."""
        better = other.log_prob > self.log_prob
        pairs = zip(self[1:], other[1:], strict=True)
        x = other.x.where(better.unsqueeze(1), self.x)
        return Found(x, *(theirs.where(better, own) for own, theirs in pairs))

    @classmethod
    def joined(cls, found: "Iterable[Found]") -> "Found":
        """Join what was found for parts of the rows."""
        return cls(*(torch.cat(parts) for parts in zip(*found, strict=True)))


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
def best_labels(density: Density, x: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Find the best label of each of k completions of n rows of evidence; a known label stays.

    Args:
        density: The density.
        x: (n, k, D).
        evidence: The n rows.

    Returns:
        log p(x, y), -inf in the place of NaN, (n, k) float64, and the labels, (n, k).
    """
    return taken(evidence.restrict(class_scores(density, x)))


@torch.no_grad()
def class_scores(density: Density, x: Tensor) -> Tensor:
    """Return log p(x, c), -inf in the place of NaN: (..., D) to (..., C), float64."""
    parts = x.flatten(0, -2).to(dtype_of(density)).split(at_once(density))
    scores = torch.cat([density.class_scores(part).double() for part in parts])
    return scores.nan_to_num(nan=-torch.inf).unflatten(0, x.shape[:-1])


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
    lots = torch.zeros(1, 0, dtype=torch.long)  # the combinations: a number for each choice
    for choice in choices:
        many = torch.arange(len(choice.values)).repeat(len(lots)).unsqueeze(1)
        lots = torch.cat([lots.repeat_interleave(len(choice.values), 0), many], 1)
    lots = lots.to(evidence.x.device)
    found = []
    rows = torch.arange(len(evidence), device=lots.device)
    for numbers in rows.split(max(1, at_once(density) // len(lots))):  # of none, one part
        part = evidence[numbers]
        x = part.x.unsqueeze(1).repeat(1, len(lots), 1)
        fits = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for choice, lot in zip(choices, lots.unbind(1), strict=True):
            x[:, :, choice.features] = choice.values.to(x)[lot]
            fits &= choice.allowed(part)[:, lot]
        # What is known stays as it was given, and not as the values of a choice have it.
        x = part.x.unsqueeze(1).where(part.known.unsqueeze(1), x)
        value, label = best_labels(density, x, part)
        one = Found.best_of(x, label, value.masked_fill(~fits, -torch.inf), 0.0)
        found.append(one._replace(agreed=torch.ones_like(one.agreed)))
    return Found.joined(found)
