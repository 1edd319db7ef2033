"""The columns of a user's table, and the features that their values become."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ugmm.errors import RowError, UserError, nearest

__all__ = [
    "MISSING",
    "UNKNOWN",
    "Column",
    "Target",
    "check_names",
    "columns_by_name",
    "fit_scaling",
    "identify",
    "is_missing",
    "plain_blanks",
    "to_array",
    "to_number",
]

MISSING = ("", "na", "nan", "?")  # the texts, in either case, that stand for no value
_CODE = re.compile(r"[+-]?0\d")
UNKNOWN = "?"  # the category of values that are missing


@dataclass(frozen=True)
class Column:
    """A column of the user's table.

    Attributes:
        name: What it is called.
        categories: The texts in a categorical column, each of which becomes one feature of 0 and
            1; `UNKNOWN` among them stands for a missing value. Empty for a numeric column.
        unit: Of its numbers, such as "cm"; "" where it is not known.
        fill: What a missing number is replaced by; None where it is refused.
    """

    name: str
    categories: tuple[str, ...] = ()
    unit: str = ""
    fill: float | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that the column becomes."""
        return tuple(f"{self.name}={category}" for category in self.categories) or (self.name,)

    def encode(
        self, values: Sequence[Any] | np.ndarray, *, keep_missing: bool = False
    ) -> np.ndarray:
        """Turn a column's values into its features.

        Args:
            values: (n,) numbers, or texts, which are read as numbers where the column is numeric.
            keep_missing: Whether a missing text becomes NaN in all of its features, instead of the
                category `UNKNOWN`.

        Returns:
            (n, k) float64, k = 1 for a numeric column; NaN where a number is missing.

        Raises:
            UserError: If a value is no number, or none of the categories.
        """
        if not self.categories:
            return self._read_numbers(values)[:, None]
        places = {identify(category): place for place, category in enumerate(self.categories)}
        numbers = {to_number(category): place for place, category in enumerate(self.categories)}
        nothing = len(self.categories)  # the row of what is missing, below the categories' own

        def place_of(value: Any) -> int | None:
            if keep_missing and is_missing(value):
                return nothing
            place = places.get(
                identify(UNKNOWN if is_missing(value) else plain_blanks(str(value)))
            )
            if place is None and not isinstance(value, str) and to_number(value) is not None:
                place = numbers.get(to_number(value))  # the number 9 is the category "09"
            return place

        if set(map(type, values)) <= {str, type(None)}:  # each of them is looked at once
            seen = {value: place_of(value) for value in dict.fromkeys(values)}
            chosen = list(map(seen.__getitem__, values))
        else:
            chosen = list(map(place_of, values))
        if None in chosen:
            row = chosen.index(None)
            raise self._explain(row, values[row])
        codes = np.vstack([np.eye(nothing), np.full(nothing, math.nan)])
        return codes[np.array(chosen, dtype=np.intp)]

    def _read_numbers(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
            return values.astype(np.float64)
        numbers = np.empty(len(values))
        for row, value in enumerate(values):
            read = math.nan if is_missing(value) else to_number(value)
            if read is None:
                raise RowError(
                    f"column {self.name!r} is numeric, and",
                    row,
                    f" has {value!r} in it; give a number",
                )
            numbers[row] = read
        return numbers

    def _explain(self, row: int, value: Any) -> RowError:
        """Return the error of a value that is none of the categories."""
        if is_missing(value):
            return RowError(
                f"column {self.name!r} has no value in",
                row,
                ", and none was missing in training; fill it in, or leave the row out",
            )
        text = plain_blanks(str(value))
        return RowError(
            f"column {self.name!r} has {text!r} in",
            row,
            f", which is none of its categories; {nearest(text, self.categories)}",
        )


@dataclass(frozen=True)
class Target:
    """The column of the numbers that are predicted.

    Attributes:
        name: What it is called.
        unit: Of its numbers, such as "cm"; "" where it is not known.
        mean: What is subtracted from them for a network.
        std: What they are divided by afterwards.
    """

    name: str
    unit: str = ""
    mean: float = 0.0
    std: float = 1.0

    @property
    def label(self) -> str:
        """Its name, with its unit if that is known."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def check_names(table: object, names: Sequence[str]) -> None:
    """Refuse names of a table's columns by which these cannot be told apart.

    Args:
        table: What it is called in an error.
        names: They.

    Raises:
        UserError: If a column has no name, or another's.
    """
    for name, count in Counter(names).items():
        if not name:
            # A data frame that is written with its index, as pandas does unasked, begins so.
            index = "; an index is left out by to_csv(index=False)" if names[0] == "" else ""
            raise UserError(
                f"{table}: column {names.index('') + 1} has no name; give it one{index}"
            )
        if count > 1:
            raise UserError(f"{table} has {count} columns {name!r}; rename them")


def plain_blanks(text: str) -> str:
    """Return a text without blanks around it, and with one space wherever there were some."""
    return " ".join(text.split())


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN, pandas.NA, or one of the texts in `MISSING`."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ == "NAType"


def to_number(value: Any) -> float | None:
    """Return a number, or a text that is one, as a float; None for everything else."""
    try:
        read = float(value)
    except (TypeError, ValueError):
        return None
    # Python reads 1_000 as a number, and nobody else does.
    return None if math.isnan(read) or (isinstance(value, str) and "_" in value) else read


def fit_scaling(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the scale of each feature of x (n, N), by which to standardise: (N,).

    They are those of the values that are known: NaN is left aside. The scale is the standard
    deviation; or 1 where a feature is constant, to which rounding may leave a tiny deviation. It
    is infinite or NaN where the squares are too large.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    spread = np.nanmax(x, axis=0) - np.nanmin(x, axis=0)
    scale[(spread == 0) | (scale == 0)] = 1
    return mean, scale


def identify(text: str) -> float | str:
    """Return what tells a category from others: its number, however that is written, or its text.

    "1" and "1.0" are one category; "01" is another, since zeros in front make a code of a number.
    """
    number = to_number(text)
    if number is None or not math.isfinite(number) or _CODE.match(text):
        return text
    return number


def to_array(rows: Any) -> np.ndarray:
    """Return a tensor, an array or nested lists as an array of numbers, or else of objects.

    What a masked array hides becomes NaN.

    Raises:
        UserError: If the lists are ragged, or hold mappings.
    """
    if isinstance(rows, np.ma.MaskedArray):
        rows = np.ma.filled(rows.astype(float if rows.dtype.kind in "biuf" else object), np.nan)
    if hasattr(rows, "detach"):  # a torch tensor
        rows = rows.detach().cpu()
        if rows.is_floating_point() and rows.element_size() < 4:
            rows = rows.float()  # NumPy knows no bfloat16
    elif isinstance(rows, list | tuple):
        if any(isinstance(row, Mapping) for row in rows):
            raise UserError(
                "the rows are a list of mappings; give one mapping from names to columns, or a "
                "data frame"
            )
        rows = [to_array(row) if hasattr(row, "detach") else row for row in rows]
    try:
        array = np.asarray(rows)
        return array if array.dtype.kind in "biuf" else np.array(rows, dtype=object)
    except ValueError:
        raise UserError("the rows are not all of one length; give each all its columns") from None


def columns_by_name(rows: Any) -> list[tuple[str, np.ndarray]] | None:
    """Return the columns of a data frame or a mapping, with their names; None for other rows."""
    if hasattr(rows, "iloc"):  # pandas: a frame, or one row of it
        names = list(rows.columns if hasattr(rows, "columns") else rows.index)
        values = [rows.iloc[(..., place)[2 - rows.ndim :]] for place in range(len(names))]
    elif isinstance(rows, Mapping):
        names, values = list(rows), list(rows.values())
    else:
        return None
    arrays = [np.atleast_1d(to_array(value)) for value in values]
    return [(plain_blanks(str(name)), array) for name, array in zip(names, arrays, strict=True)]
