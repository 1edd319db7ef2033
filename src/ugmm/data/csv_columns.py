"""The columns of a CSV file, and the features or classes that their values become."""

import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from typing import Literal

import numpy as np

from ugmm.columns import UNKNOWN, Column, identify, to_number
from ugmm.data.dialect import Dialect
from ugmm.errors import UserError
from ugmm.yaml_text import write_pair

__all__ = ["Answer", "Cells", "ColumnType", "Features", "encode", "read_classes", "read_target"]

ColumnType = Literal["numeric", "categorical", "drop"]

_LARGEST = 1e150  # its square is still a number


@dataclass
class Cells:
    """A column of the file: a value (None: missing) and the line it stands in, for each row."""

    name: str
    values: list[str | None]
    lines: list[int]
    dialect: Dialect

    def numbers(self) -> list[float | None]:
        """Return the values as numbers, None where they are none."""
        if self.dialect.decimal == "point":
            # Most columns are numbers throughout and read at once, which is quicker; where a value
            # is missing or no number, each is looked at by itself.
            with suppress(TypeError, ValueError):
                read = list(map(float, self.values))  # type: ignore[arg-type]
                if "_" not in "".join(self.values):  # type: ignore[arg-type]  # 1_000, to Python
                    return read  # type: ignore[return-value]
        read_number = self.dialect.read_number
        return [None if value is None else read_number(value) for value in self.values]

    def missing(self) -> list[int]:
        """Return the lines in which the value is missing."""
        pairs = zip(self.values, self.lines, strict=True)
        return [line for value, line in pairs if value is None]

    def keep(self, rows: list[bool]) -> "Cells":
        """Return the column with the marked rows only."""
        values, lines = compress(self.values, rows), compress(self.lines, rows)
        return Cells(self.name, list(values), list(lines), self.dialect)

    def remedy(self, kind: ColumnType) -> str:
        """Return the setting that makes it a column of that type, quoted for a shell."""
        return shlex.quote(f"data.types={write_pair(self.name, kind)}")


@dataclass
class Features:
    """What a column becomes: k features, (n, k) float64, and a word about its values."""

    column: Column
    x: np.ndarray
    content: str


@dataclass
class Answer:
    """What is to be predicted of each row: classes, (n,) int64, or numbers, (n,) float64."""

    y: np.ndarray
    class_names: tuple[str, ...]
    content: str


def encode(column: Cells, kind: str | None, *, keep: bool = False) -> Features:
    """Turn a column into features; a type of None is inferred.

    Missing categories are one more category, or NaN in all its features with `keep`.
    """
    name, values = column.name, column.values
    present = [value for value in values if value is not None]
    if not present:
        raise UserError(f"column {name!r} has no values; leave it out by {column.remedy('drop')}")
    numbers = column.numbers()
    texts = [v for v, read in zip(values, numbers, strict=True) if v and read is None]
    # A stray text among numbers is a slip, and no reason to make each number a category; nor are
    # numbers that are written in another way than all others.
    strays = len(texts) <= len(present) / 2 or None not in map(
        column.dialect.other.read_number, texts
    )
    if kind == "numeric" or (kind is None and strays):
        if texts:
            raise UserError(
                f"column {name!r}: {texts[0]!r} in line {column.lines[values.index(texts[0])]} is "
                f"not a number where decimals stand behind a {column.dialect.decimal}; mend it, "
                f"set data.decimal, or make it text by {column.remedy('categorical')}"
            )
        return _encode_numbers(column, numbers)
    categories = _ordered(present)
    if kind is None and len(categories) == len(present) > 1:
        raise UserError(
            f"column {name!r} has another text in every row, which names rows and is no feature; "
            f"leave it out by {column.remedy('drop')}, or keep it by "
            f"{column.remedy('categorical')}"
        )
    content = f"{len(categories)}: {', '.join(categories)}" if categories[1:] else categories[0]
    if not keep:
        categories += [UNKNOWN] * (len(present) < len(values))
    becomes = Column(name, tuple(categories))
    return Features(becomes, becomes.encode(values, keep_missing=keep), content)


def _encode_numbers(column: Cells, numbers: list[float | None]) -> Features:
    becomes = Column(column.name)
    x = np.array(numbers, dtype=np.float64)  # None becomes NaN
    if (large := np.abs(x) > _LARGEST).any():
        row = large.argmax()
        raise UserError(
            f"column {column.name!r} holds {column.values[row]} in line {column.lines[row]}, "
            "too large to be computed with; mend it"
        )
    low, high = np.nanmin(x), np.nanmax(x)
    content = f"{low:g} to {high:g}" if low < high else f"{low:g}"
    return Features(becomes, x[:, None], content)


def read_classes(column: Cells | None, rows: int) -> Answer:
    """Return the class of each row and the names of the classes; without a column, all of one."""
    if column is None:
        return Answer(np.zeros(rows, dtype=np.int64), ("all",), "")
    values = [value for value in column.values if value is not None]
    names = _ordered(values)
    if len(names) < 2:
        raise UserError(
            f"data.label={column.name} has one value only, {names[0]!r}; name a column of "
            "classes, or none by data.label=null"
        )
    known = {identify(name): index for index, name in enumerate(names)}
    place = {value: known[identify(value)] for value in set(values)}
    y = np.array([place[value] for value in values], dtype=np.int64)
    return Answer(y, tuple(names), f"{len(names)}: {', '.join(names)}")


def read_target(column: Cells) -> Answer:
    """Return the numbers of a column that misses none.

    Raises:
        UserError: If a value is no number, or too large, or they are all the same.
    """
    numbers = column.numbers()
    if None in numbers:
        place = numbers.index(None)
        raise UserError(
            f"data.target={column.name}: {column.values[place]!r} in line {column.lines[place]} "
            f"is not a number where decimals stand behind a {column.dialect.decimal}; mend it, "
            "or, if these are classes, name the column by data.label"
        )
    found = _encode_numbers(column, numbers)
    y = found.x[:, 0]
    if y.min() == y.max():
        raise UserError(
            f"data.target={column.name} is {y[0]:g} in every row: there is nothing to predict; "
            "name another column"
        )
    return Answer(y, (), found.content)


def _ordered(values: Iterable[str]) -> list[str]:
    """Return the distinct values, in the order of numbers if all are numbers.

    Of several ways to write one number, it is the shortest.
    """
    shortest: dict[float | str, str] = {}
    for value in sorted(set(values), key=lambda value: (len(value), value)):
        shortest.setdefault(identify(value), value)
    pairs = [(to_number(value), value) for value in shortest.values()]
    if any(number is None for number, _ in pairs):
        return sorted(shortest.values())
    return [value for _, value in sorted(pairs)]
