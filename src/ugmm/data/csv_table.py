"""A table from a CSV file: what its columns are, and the numbers they become."""

import csv
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ugmm.columns import UNKNOWN, Column, identify, is_missing, to_number
from ugmm.data.tabular import Table
from ugmm.errors import UserError, nearest
from ugmm.yaml_text import write_pair

__all__ = ["ColumnType", "Missing", "read_csv"]

ColumnType = Literal["numeric", "categorical", "drop"]
Missing = Literal["refuse", "mean", "drop"]

_LARGEST = 1e150  # its square is still a number


@dataclass
class _Cells:
    """One column of the file: a value (None: missing) and the line it stands in, for each row."""

    name: str
    values: list[str | None]
    lines: list[int]

    def missing(self) -> list[int]:
        """Return the lines in which the value is missing."""
        pairs = zip(self.values, self.lines, strict=True)
        return [line for value, line in pairs if value is None]

    def keep(self, rows: list[bool]) -> "_Cells":
        """Return the column with the marked rows only."""
        values, lines = compress(self.values, rows), compress(self.lines, rows)
        return _Cells(self.name, list(values), list(lines))

    def remedy(self, kind: ColumnType) -> str:
        """Return the setting that makes it a column of that type, quoted for a shell."""
        return shlex.quote(f"data.types={write_pair(self.name, kind)}")


@dataclass
class _Features:
    """What a column becomes: k features, (n, k) float64, and a word about its values."""

    column: Column
    x: np.ndarray
    content: str


def read_csv(
    path: str | Path,
    label: str | None = None,
    *,
    types: Mapping[str, str] | None = None,
    missing: Missing = "refuse",
) -> Table:
    """Read a CSV file: UTF-8, commas, names in the first line; blanks around values mean nothing.

    A column is numeric if all its values are numbers, else categorical, which becomes one feature
    of 0 and 1 for each of its values (in the whole file): `city=Oslo`. Missing values are empty,
    NA, nan or ?, in either case.

    Args:
        path: The file.
        label: The column of the classes. None: a table without a label, all of one class.
        types: What columns are, by name, where that is not to be inferred: "numeric",
            "categorical" or "drop", which leaves the column out.
        missing: What becomes of missing values. "refuse" raises; "drop" leaves out their rows;
            "mean" leaves NaN in numeric columns, which `TabularDataModule` fills with the mean of
            the training rows, and makes them a value of categorical ones: `city=?`.

    Returns:
        The table; its description has a line for each column.

    Raises:
        UserError: If the file cannot be read, or a column is not what it should be; the line
            names the column and the remedy.
    """
    if not str(path):
        raise UserError("no file is named; set data.path=table.csv")
    columns = _read(Path(path))
    types = dict(types or {})
    _check_names(path, list(columns), label, types)
    used = [column for name, column in columns.items() if types.get(name) != "drop"]
    if missing == "drop":
        complete = [None not in row for row in zip(*(c.values for c in used), strict=True)]
        used = [column.keep(complete) for column in used]
        if not any(complete):
            raise UserError(f"{path}: every row lacks a value; use data.missing=mean")
    _refuse_missing(used, label, missing)
    features = {c.name: _encode(c, types.get(c.name)) for c in used if c.name != label}
    if not features:
        raise UserError(f"{path} has no column that could be a feature")
    classes = next((c for c in used if c.name == label), None)
    y, class_names = _classes(classes) if classes else (np.zeros(len(used[0].values)), ("all",))
    return Table(
        x=np.hstack([column.x for column in features.values()]),
        y=y.astype(np.int64),
        columns=tuple(column.column for column in features.values()),
        class_names=class_names,
        label=label,
        ignored=tuple(name for name in columns if name != label and name not in features),
        fill_missing=missing == "mean",
        description=_describe(path, columns, features, len(y), label, class_names),
    )


def _read(path: Path) -> dict[str, _Cells]:
    """Read the columns of a file, by name."""
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if row:  # not an empty line
                    rows.append([" ".join(cell.split()) for cell in row])
                    lines.append(reader.line_num)
    except OSError as error:
        raise UserError(f"cannot read data.path={path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}); save it as that") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; mend the quotes") from error
    if len(rows) < 2:
        raise UserError(f"{path} has no rows; it needs names in its first line and rows below")
    names = rows[0]
    for name in names:
        if not name:
            raise UserError(f"{path}: column {names.index('') + 1} has no name; give it one")
        if names.count(name) > 1:
            raise UserError(f"{path} has {names.count(name)} columns {name!r}; rename them")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise UserError(f"{path} has one column, {names[0]!r}; separate columns by commas")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            raise UserError(
                f"{path}, line {line} has {len(row)} values for {len(names)} columns; mend it, "
                "perhaps by quotes around a value with a comma"
            )
    return {
        name: _Cells(name, [None if is_missing(v) else v for v in values], lines[1:])
        for name, values in zip(names, zip(*rows[1:], strict=True), strict=True)
    }


def _check_names(
    path: str | Path, names: list[str], label: str | None, types: Mapping[str, str]
) -> None:
    """Refuse a label or types that the columns do not allow."""
    if label is not None and label not in names:
        raise UserError(f"data.label={label}: {path} has no such column; {nearest(label, names)}")
    for name, kind in types.items():
        if name not in names:
            raise UserError(f"data.types: {path} has no column {name!r}; {nearest(name, names)}")
        if kind not in get_args(ColumnType):
            raise UserError(f"data.types.{name}={kind} must be numeric, categorical or drop")
        if name == label:
            raise UserError(f"data.types names {name!r}, the label; leave it out there")


def _refuse_missing(columns: Iterable[_Cells], label: str | None, missing: str) -> None:
    """Refuse missing values that nobody said what to do with."""
    for column in columns:
        lines = column.missing()
        if not lines or (missing == "mean" and column.name != label):
            continue
        remedy = f"use data.missing=drop, data.missing=mean or {column.remedy('drop')}"
        if column.name == label:
            remedy = "leave out rows without a label by data.missing=drop"
        raise UserError(
            f"column {column.name!r} has {len(lines)} missing value(s), the first in line "
            f"{lines[0]}; {remedy}"
        )


def _encode(column: _Cells, kind: str | None) -> _Features:
    """Turn a column into features; a type of None is inferred."""
    name, values = column.name, column.values
    present = [value for value in values if value is not None]
    if not present:
        raise UserError(f"column {name!r} has no values; leave it out by {column.remedy('drop')}")
    numbers = [None if value is None else to_number(value) for value in values]
    texts = [v for v, read in zip(values, numbers, strict=True) if v and read is None]
    # A stray text among numbers is a slip, and no reason to make each number a category.
    if kind == "numeric" or (kind is None and len(texts) <= len(present) / 2):
        if texts:
            raise UserError(
                f"column {name!r}: {texts[0]!r} in line {column.lines[values.index(texts[0])]} is "
                f"not a number; mend it, or make it text by {column.remedy('categorical')}"
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
    categories += [UNKNOWN] * (len(present) < len(values))
    becomes = Column(name, tuple(categories))
    return _Features(becomes, becomes.encode(values), content)


def _encode_numbers(column: _Cells, numbers: list[float | None]) -> _Features:
    becomes = Column(column.name)
    x = becomes.encode(numbers)[:, 0]
    if (large := np.abs(x) > _LARGEST).any():
        row = large.argmax()
        raise UserError(
            f"column {column.name!r} holds {column.values[row]} in line {column.lines[row]}, "
            "too large to be computed with; mend it"
        )
    low, high = np.nanmin(x), np.nanmax(x)
    content = f"{low:g} to {high:g}" if low < high else f"{low:g}"
    return _Features(becomes, x[:, None], content)


def _classes(column: _Cells) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the class of each row and the names of the classes."""
    values = [value for value in column.values if value is not None]
    names = _ordered(values)
    if len(names) < 2:
        raise UserError(
            f"data.label={column.name} has one value only, {names[0]!r}; name a column of "
            "classes, or none by data.label=null"
        )
    place = {identify(name): index for index, name in enumerate(names)}
    return np.array([place[identify(value)] for value in values]), tuple(names)


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


def _describe(
    path: str | Path,
    columns: Mapping[str, _Cells],
    features: Mapping[str, _Features],
    rows: int,
    label: str | None,
    class_names: tuple[str, ...],
) -> str:
    """Return a table of the columns, as they are in the file."""
    found = [("column", "type", "missing", "values")]
    for name, column in columns.items():
        kind, content = "dropped", ""
        if name == label:
            kind, content = "label", f"{len(class_names)}: {', '.join(class_names)}"
        elif name in features:
            kind = "categorical" if features[name].column.categories else "numeric"
            content = features[name].content
            if np.ptp(features[name].x[~np.isnan(features[name].x)]) == 0:
                content += " (constant)"
        found.append((name, kind, str(len(column.missing())), content))
    width = min(max(len(row[0]) for row in found), 30)
    of = len(next(iter(columns.values())).values)
    head = f"{path}: {rows} rows" + (f" of {of}" if rows < of else "")
    return "\n".join(
        [f"{head}, {sum(column.x.shape[1] for column in features.values())} features"]
        + [
            f"  {_cut(name, width):<{width}}  {kind:<11}  {gaps:>7}  {_cut(content, 40)}".rstrip()
            for name, kind, gaps, content in found
        ]
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
