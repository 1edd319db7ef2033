"""What a confusion matrix tells of classes of different sizes."""

import torch
from torch import Tensor

__all__ = ["balanced_accuracy", "balanced_weights", "macro_f1"]


def balanced_accuracy(confusion: Tensor) -> float:
    """Return the mean over the classes of the share of their rows that are right.

    Args:
        confusion: Counts, (C, C), rows the true classes. Classes without a row are left out.
    """
    right, rows = confusion.diagonal().double(), confusion.sum(1)
    return float((right / rows)[rows > 0].mean())


def macro_f1(confusion: Tensor) -> float:
    r"""Return the mean over the classes of :math:`F_1 = 2 TP / (2 TP + FP + FN)`.

    Args:
        confusion: Counts, (C, C), rows the true classes. Classes without a row that were never
            predicted either are left out.
    """
    right, all_of = confusion.diagonal().double(), confusion.sum(0) + confusion.sum(1)
    return float((2 * right / all_of)[all_of > 0].mean())


def balanced_weights(rows: Tensor) -> Tensor:
    r"""Return a weight for each class by which all together weigh as much as each other.

    :math:`w_c = n / (C \, n_c)`, whose mean over the rows is 1.

    Args:
        rows: Of each class, (C,). One without a row weighs as if it had one.
    """
    return rows.sum() / (len(rows) * rows.clamp(min=1).to(torch.get_default_dtype()))
