"""Looking up what belongs to labels. An index of torch's takes -1 for the last class."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "count_labels",
    "draw_labels",
    "pick_scores",
    "refuse_strangers",
    "rows_of",
    "values_of",
]


def rows_of(table: Tensor, y: Tensor) -> Tensor:
    """Return each label's row of a table: (C, ...) and (...) to (..., ...).

    On a GPU a label out of range ends the process, as it does in torch's own look-ups.

    Raises:
        IndexError: If a label is not from 0 to C - 1.
    """
    try:
        return F.embedding(y, table.flatten(1)).reshape(*y.shape, *table.shape[1:])
    except (IndexError, RuntimeError):
        refuse_strangers(y, len(table))
        raise


def values_of(values: Tensor, y: Tensor) -> Tensor:
    """Return each label's value: (C,) and (...) to (...). See `rows_of`."""
    return rows_of(values.unsqueeze(1), y).squeeze(-1)


def pick_scores(scores: Tensor, y: Tensor) -> Tensor:
    """Return the score of each row's own label: (..., C) and (...) to (...).

    Raises:
        IndexError: If a label is not from 0 to C - 1.
    """
    try:
        return scores.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    except RuntimeError:
        refuse_strangers(y, scores.shape[-1])
        raise


def count_labels(y: Tensor, n_classes: int) -> Tensor:
    """Return how many of the labels (n,) there are of each class: (C,).

    Raises:
        IndexError: If a label is not from 0 to C - 1.
    """
    refuse_strangers(y, n_classes)
    return torch.bincount(y, minlength=n_classes)


def draw_labels(logits: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw n labels of classes with these logits (C,): (n,). None may be drawn, too."""
    if n == 0:  # torch refuses
        return torch.zeros(0, dtype=torch.long, device=logits.device)
    return torch.multinomial(logits.softmax(0), n, replacement=True, generator=generator)


def refuse_strangers(y: Tensor, n_classes: int) -> None:
    """Raise IndexError if a label is none of the classes'."""
    try:
        wrong = y[(y < 0) | (y >= n_classes)]
    except RuntimeError:  # within a transform of torch.func, where values cannot be looked at
        return
    if len(wrong):
        raise IndexError(
            f"a label is {wrong[0].item()}, and it must be 0 to {n_classes - 1}"
        ) from None
