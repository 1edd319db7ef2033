"""What densities are asked, and how they answer: evidence, and answers that say how sure they are.

*Evidence* is what is known of a row: some of its features, perhaps its label. A density that can
be queried is `Queryable`; `ugmm.inference` asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["UNKNOWN", "Draws", "Evidence", "InOrders", "Marginal", "Queryable"]

UNKNOWN = -1  # in the place of a label
_FARTHEST = 1e15  # in model units: squares of what lies beyond leave the range of float32


@dataclass(frozen=True)
class Evidence:
    """What is known of rows: features, each with its own mask, and labels.

    Arguments:
        x: Features in model units, (n, D), or (D,) for one row.
        known: True where a feature is known, of the shape of `x`. By default, NaN in `x` says that
            one is not. What `x` holds in the place of an unknown feature does not matter.
        y: Labels, (n,) int64, `UNKNOWN` where one is not known; None if none is.

    Attributes:
        x: (n, D), 0 where a feature is not known.
        known: (n, D), bool.
        y: (n,), int64.

    Raises:
        ValueError: If the shapes do not fit, or a value is not finite where one is known.
    """

    x: Tensor
    known: Tensor = None  # type: ignore[assignment]  # __post_init__ makes all three tensors
    y: Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        x, known = torch.atleast_2d(self.x), self.known
        known = ~x.isnan() if known is None else torch.atleast_2d(known)
        if x.dim() != 2 or known.shape != x.shape or known.dtype != torch.bool:
            raise ValueError(
                "evidence is of features (n, D) and a bool mask of their shape, got "
                f"{tuple(self.x.shape)} and {tuple(known.shape)} of {known.dtype}"
            )
        if (wrong := known & ~x.isfinite()).any():
            row, feature = wrong.nonzero()[0].tolist()
            raise ValueError(f"row {row}: feature {feature} is known, and not finite")
        y = self.y
        y = torch.full((len(x),), UNKNOWN, device=x.device) if y is None else torch.atleast_1d(y)
        if y.shape != (len(x),) or y.is_floating_point():
            raise ValueError(f"evidence of {len(x)} rows has labels {tuple(y.shape)} of {y.dtype}")
        object.__setattr__(self, "x", x.masked_fill(~known, 0))
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "y", y.long())

    @classmethod
    def nothing(cls, n_features: int, n: int = 1) -> "Evidence":
        """Return n rows of which nothing is known."""
        return cls(torch.zeros(n, n_features), torch.zeros(n, n_features, dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice | Tensor) -> "Evidence":
        """Return some of the rows: a slice, a mask or their numbers."""
        return Evidence(self.x[rows], self.known[rows], self.y[rows])

    def split(self, n: int) -> Iterator["Evidence"]:
        """Yield the rows in parts of n, the last one perhaps smaller."""
        for start in range(0, len(self), n):
            yield self[start : start + n]

    def patterns(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each mask (D,) that some rows share, and the numbers of those rows (m,)."""
        masks, own = self.known.unique(dim=0, return_inverse=True)
        for index, mask in enumerate(masks):
            yield mask, (own == index).nonzero().squeeze(1)

    def check(self, n_features: int, n_classes: int) -> None:
        """Check that a density of so many features and classes can be asked about the rows.

        Raises:
            ValueError: If it cannot.
        """
        if self.x.shape[1] != n_features:
            raise ValueError(
                f"evidence of {self.x.shape[1]} features, and the density has {n_features}"
            )
        if len(far := self.x[self.x.abs() > _FARTHEST]):
            raise ValueError(
                f"a feature is {far[0].item():g} in model units: too far from all that the "
                "density knows of"
            )
        wrong = self.y[(self.y < UNKNOWN) | (self.y >= n_classes)]
        if len(wrong):
            raise ValueError(f"a label is {wrong[0].item()}, and it must be 0 to {n_classes - 1}")

    def is_empty(self) -> Tensor:
        """Return which rows nothing is known of, not even the label: (n,), bool."""
        return (self.y == UNKNOWN) & ~self.known.any(1)

    def restrict(self, scores: Tensor) -> Tensor:
        """Return class scores (n, ..., C), -inf for each class that a row's label rules out."""
        labels = torch.arange(scores.shape[-1], device=scores.device)
        y = self.y.to(scores.device).unsqueeze(1)
        ruled_out = (y != UNKNOWN) & (labels != y)
        each = (len(self), *[1] * (scores.dim() - 2), scores.shape[-1])
        return scores.masked_fill(ruled_out.reshape(each), -torch.inf)

    def with_label(self, label: int) -> "Evidence":
        """Return the same features with this label."""
        return replace(self, y=torch.full_like(self.y, label))

    def with_features(self, features: Tensor, values: Tensor) -> "Evidence":
        """Return evidence in which some more features are known.

        Args:
            features: Their numbers, (m,).
            values: (n, m), or (m,) for all rows.
        """
        x, known = self.x.clone(), self.known.clone()
        x[:, features], known[:, features] = values.to(x), True
        return Evidence(x, known, self.y)

    def to(
        self, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> "Evidence":
        """Return the same on another device, its features of another type."""
        x = self.x.to(device, dtype or self.x.dtype)
        return Evidence(x, self.known.to(x.device), self.y.to(x.device))


class Marginal(NamedTuple):
    """How probable evidence is.

    Attributes:
        log_prob: log p of what is known of each row, in nats, (n,), float64.
        error: Its standard error, (n,), float64; 0 where the answer is exact.
        effective: The effective share of the draws behind it, (n,), float64 in (0, 1]; 1 where
            the answer is exact. (The square of the mean weight over the mean of their squares.)
        is_exact: Whether the answer is exact, up to rounding.
        shared: Of the error, the part that is the same for all answers of this density, (n,),
            float64, as the error of its log Z; None if there is none. It cancels in ratios.
    """

    log_prob: Tensor
    error: Tensor
    effective: Tensor
    is_exact: bool
    shared: Tensor | None = None

    def error_over(self, other: "Marginal") -> Tensor:
        """Return the standard error of the logarithm of this over another of the same density.

        Args:
            other: Of as many rows, or of one.
        """
        zero = torch.zeros_like(self.error)
        ours, theirs = (zero if m.shared is None else m.shared for m in (self, other))
        own = self.error.square() - ours.square() + other.error.square() - theirs.square()
        return (own.clamp(min=0) + (ours - theirs).square()).sqrt()

    @property
    def is_settled(self) -> bool:
        """Whether no draws are behind it: another seed would give the same answer."""
        return bool((self.effective > 1 - 1e-9).all())  # but for rounding

    @classmethod
    def exact(cls, log_prob: Tensor) -> "Marginal":
        """Return an answer without an error."""
        log_prob = log_prob.double()
        return cls(log_prob, torch.zeros_like(log_prob), torch.ones_like(log_prob), True)


class Draws(NamedTuple):
    """Weighted draws of whole rows, given evidence.

    Attributes:
        x: k draws a row of the evidence, (n, k, D); what was known is as it was.
        y: Their labels, (n, k).
        log_weight: Their weights' logarithms, (n, k), float64; the weights of a row sum to 1.
        marginal: Of the evidence; found on the way.
    """

    x: Tensor
    y: Tensor
    log_weight: Tensor
    marginal: Marginal


@runtime_checkable
class Queryable(Protocol):
    """A density that answers queries about rows of which something is known.

    Random numbers come from a generator on the CPU, wherever the density lives: so a seed decides
    an answer. What is not exact may use about n draws (or points) for each row of the evidence.

    Attributes:
        n_features: D.
        n_classes: C; 1 where there is no label.
    """

    n_features: int
    n_classes: int

    def marginal(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:
        """Return log p of each row's evidence: features that are not known are integrated out."""

    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n weighted draws of whole rows for each row of the evidence."""


@runtime_checkable
class InOrders(Protocol):
    """A density that mixes several orders of its features, unless `orders` is None.

    Attributes:
        orders: (K, D).
    """

    orders: Tensor | None

    def by_orders(self, row: Evidence, features: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each order says of some features, given one row of evidence.

        Args:
            row: One row.
            features: Numbers of features that are not known there, (m,).
            values: Values of theirs, (v, m).

        Returns:
            Each order's log p of the evidence, (K,), and log p of the values given it, (K, v),
            both float64.
        """
