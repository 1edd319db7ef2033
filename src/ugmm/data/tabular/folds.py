"""Which rows of a table train, validate and test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ugmm.data.module import SplitName
from ugmm.errors import UserError

__all__ = ["Folds"]


@dataclass(frozen=True)
class Folds:
    """Shuffled folds of a table's rows: one tests, and of the others a share validates.

    The folds of one seed are disjoint and together are all rows.

    Attributes:
        count: Number of folds.
        chosen: The one that tests, from 0.
        val_fraction: Share of the other rows that validates, rounded up; 0 for none.
        seed: Decides both.
    """

    count: int
    chosen: int
    val_fraction: float
    seed: int

    def split(self, rows: int) -> dict[SplitName, np.ndarray]:
        """Choose the numbers of each split's rows.

        Args:
            rows: Of the table.

        Raises:
            UserError: If a split would have one row only, of which there is no variance.
        """
        from sklearn.model_selection import KFold, train_test_split

        if rows < 2 * self.count:
            raise UserError(
                f"the table has {rows} rows, too few for two in each of data.folds={self.count}; "
                "lower data.folds"
            )
        folds = KFold(self.count, shuffle=True, random_state=self.seed)
        train, test = list(folds.split(np.arange(rows)))[self.chosen]
        val = train[:0]
        if self.val_fraction:
            held_out = self._held_out(train, 2, "two rows")
            train, val = train_test_split(train, test_size=held_out, random_state=self.seed)
        return {"train": train, "val": val, "test": test}

    def split_classes(self, y: np.ndarray, names: Sequence[str]) -> dict[SplitName, np.ndarray]:
        """Choose the numbers of each split's rows, with as large a share of each class in each.

        Args:
            y: The rows' classes, (n,).
            names: One name a class.

        Raises:
            UserError: If a class has too few rows for that.
        """
        from sklearn.model_selection import StratifiedKFold, train_test_split

        folds = StratifiedKFold(self.count, shuffle=True, random_state=self.seed)
        train, test = list(folds.split(y, y))[self.chosen]
        val = train[:0]
        if self.val_fraction:
            held_out = self._held_out(train, len(names), f"{len(names)} classes")
            rows = np.bincount(y[train])
            if rows.min() < 2:
                raise UserError(
                    f"class {names[int(rows.argmin())]!r} has one row outside the test fold, too "
                    "few to train and validate; use data.val_fraction=0, or leave out such "
                    "classes by data.rare=drop"
                )
            train, val = train_test_split(
                train, test_size=held_out, stratify=y[train], random_state=self.seed
            )
            rows = np.bincount(y[train], minlength=len(names))
            if not rows.all():
                raise UserError(
                    f"class {names[int(rows.argmin())]!r} has no row left to train on beside fold "
                    f"{self.chosen} and data.val_fraction={self.val_fraction}; lower "
                    "data.val_fraction, or leave that class out of the table"
                )
        return {"train": train, "val": val, "test": test}

    def _held_out(self, train: np.ndarray, least: int, what: str) -> int:
        """Return how many of the training rows validate: at least so many, and as many stay."""
        held_out = math.ceil(self.val_fraction * len(train))
        if not least <= held_out <= len(train) - least:
            raise UserError(
                f"data.val_fraction={self.val_fraction} divides {len(train)} rows into "
                f"{len(train) - held_out} and {held_out}, too few for {what} on both sides; move "
                "it towards 0.5, or use 0 for no validation"
            )
        return held_out
