"""Tables of measurements: what a table is, those that come with scikit-learn, and rare classes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ugmm.columns import to_number
from ugmm.errors import UserError, list_some
from ugmm.spec import Column, Target

__all__ = ["SCIKIT", "Rare", "Table", "has_decimals", "load_scikit", "remedy", "without_rare"]

Rare = Literal["error", "drop", "merge"]
SCIKIT = ("iris", "wine", "breast_cancer", "digits")
_SCIKIT_TARGETS = {"diabetes": Target("progression")}


@dataclass(frozen=True)
class Table:
    """Rows of numbers, and the class of each or the number that is to be predicted.

    Attributes:
        x: Features, (n, N) float64; NaN where a value is missing.
        y: Classes, (n,) int64 from 0; all 0 in a table without a label. Or numbers, (n,) float64.
        columns: What the N features are made of.
        class_names: One name a class; none where there is a target.
        label: The column of the classes; None where it has no name.
        ignored: Other columns that are no features; see `ugmm.spec.Spec`.
        fill_missing: Whether a trained network fills in numbers that are missing in the columns
            that miss none here; what is missing here is filled in in any case.
        keep_missing: Whether nothing is filled in: what is missing stays NaN, in all features of
            its column, here and for a trained network.
        image_shape: Height and width if a row is an image, else None.
        pixel_range: See `ugmm.spec.Spec`.
        description: What to tell whoever trains on it; "" for nothing.
        target: The column of the numbers that are to be predicted; None where there are classes.
        numbers: Which rows these are in the user's data, (n,) int64; None for 0 to n - 1.
        merged: The classes that the last one was made of, if they were too rare.
    """

    x: np.ndarray
    y: np.ndarray
    columns: tuple[Column, ...]
    class_names: tuple[str, ...]
    label: str | None = None
    ignored: tuple[str, ...] = ()
    fill_missing: bool = False
    keep_missing: bool = False
    image_shape: tuple[int, int] | None = None
    pixel_range: tuple[float, float] | None = None
    description: str = ""
    target: Target | None = None
    numbers: np.ndarray | None = None
    merged: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The N features' names."""
        return tuple(name for column in self.columns for name in column.features)


def load_scikit(name: str) -> Table:
    """Return a data set that comes with scikit-learn: one of `SCIKIT`, or diabetes.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in (*SCIKIT, *_SCIKIT_TARGETS):
        known = ", ".join((*SCIKIT, *_SCIKIT_TARGETS))
        raise UserError(f"there is no data set {name!r}; there are {known}")
    from sklearn import datasets  # a second to import, and MNIST has no use for it

    if (target := _SCIKIT_TARGETS.get(name)) is not None:
        loaded = getattr(datasets, f"load_{name}")(scaled=False)
        columns = tuple(map(Column, loaded.feature_names))
        return Table(loaded.data, loaded.target, columns, (), target=target)
    loaded = getattr(datasets, f"load_{name}")()
    return Table(
        loaded.data,
        loaded.target.astype(np.int64),
        tuple(_column(str(feature)) for feature in loaded.feature_names),
        tuple(map(str, loaded.target_names)),
        label="target",
        image_shape=(8, 8) if name == "digits" else None,
        pixel_range=(0.0, 16.0) if name == "digits" else None,
    )


def _column(name: str) -> Column:
    """Return the column of scikit-learn's feature `sepal length (cm)`.

    Its name is without the unit, since the features are served standardised.
    """
    bare = name.removesuffix(" (cm)")
    return Column(bare, unit="cm" if bare != name else "")


def without_rare(table: Table, least: int, rare: Rare) -> Table:
    """Return a table in which every class has at least so many rows, and says what it did.

    Args:
        table: The table.
        least: How many rows a class needs.
        rare: "drop" leaves out the rows of classes with fewer, "merge" makes one class of them.

    Raises:
        UserError: If fewer than two classes are left, all of them together are too few, or the
            table has no classes.
    """
    if table.target is not None:
        raise UserError(
            f"data.rare={rare} is of classes, and the table has a number to predict, "
            f"{table.target.name!r}; leave it out"
        )
    rows = np.bincount(table.y, minlength=len(table.class_names))
    few = rows < least
    if not few.any():
        return table
    kept = np.flatnonzero(~few)
    names = [table.class_names[c] for c in kept]
    places = np.cumsum(~few) - 1
    named = [f"{table.class_names[c]!r} ({rows[c]})" for c in np.flatnonzero(few)]
    of = f"with fewer than {least} rows, {list_some(named, 5)}, are"
    numbers, merged = table.numbers, table.merged
    if rare == "drop":
        chosen = ~few[table.y]
        numbers = np.flatnonzero(chosen) if numbers is None else numbers[chosen]
        x, y, done = table.x[chosen], places[table.y[chosen]], "left out"
    else:
        name = "other"
        while name in names:
            name += "_"
        if rows[few].sum() < least:
            raise UserError(
                f"data.rare=merge: the classes {of} too few together, too; use data.rare=drop"
            )
        x, y = table.x, np.where(few, len(names), places)[table.y]
        names, done = [*names, name], f"merged into class {name!r}"
        merged = tuple(table.class_names[c] for c in np.flatnonzero(few))
    if len(names) < 2:
        raise UserError(f"data.rare={rare} leaves less than two classes: those {of} {done}")
    said = f"{table.description}\n  data.rare={rare}: classes {of} {done}".lstrip("\n")
    return replace(
        table,
        x=x,
        y=y,
        class_names=tuple(names),
        description=said,
        numbers=numbers,
        merged=merged,
    )


def has_decimals(numbers: Iterable[float | None]) -> bool:
    """Whether one of some numbers is no integer, nor infinite."""
    return any(n is not None and math.isfinite(n) and n % 1 for n in numbers)


def remedy(table: Table) -> str:
    """Return what to do about a class with too few rows."""
    if has_decimals(to_number(name.replace(",", ".")) for name in table.class_names):
        return (
            f"each number of the label {table.label!r} is a class of its own; a "
            f"quantity is predicted by data.target={table.label} in the experiment diabetes_reg"
        )
    return (
        "lower data.folds, or leave out such classes by data.rare=drop, or merge them by "
        "data.rare=merge"
    )
