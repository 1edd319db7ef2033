"""A table from a CSV file: what its columns are, and the numbers they become."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ugmm.columns import check_names, is_missing, plain_blanks
from ugmm.data.csv_columns import (
    Cells,
    ColumnType,
    Features,
    encode,
    read_classes,
    read_target,
)
from ugmm.data.dialect import Dialect, find_dialect, named_separator
from ugmm.data.tabular import Table, has_decimals
from ugmm.data.text_file import read_text
from ugmm.errors import UserError, nearest
from ugmm.spec import Target

__all__ = ["Missing", "read_cells", "read_csv"]

Missing = Literal["refuse", "mean", "drop", "keep"]

_COUNTED = 10  # rows from which on a column that counts them is no coincidence


def read_csv(
    path: str | Path,
    label: str | None = None,
    *,
    target: str | None = None,
    types: Mapping[str, str] | None = None,
    missing: Missing = "refuse",
    separator: str = "auto",
    decimal: str = "auto",
    encoding: str = "auto",
) -> Table:
    """Read a CSV file, gzipped or not: names in the first line; blanks around values mean nothing.

    A column is numeric if all its values are numbers, else categorical, which becomes one feature
    of 0 and 1 for each of its values (in the whole file): `city=Oslo`. Missing values are empty,
    NA, nan or ?, in either case.

    Args:
        path: The file.
        label: The column of the classes. None: a table without a label, all of one class.
        target: In place of a label, the column of the numbers that are to be predicted.
        types: What columns are, by name, where that is not to be inferred: "numeric",
            "categorical" or "drop", which leaves the column out.
        missing: What becomes of missing values. "refuse" raises; "drop" leaves out their rows;
            "mean" leaves NaN in numeric columns, which `TabularDataModule` fills with the mean of
            the training rows, and makes them a value of categorical ones: `city=?`; "keep" leaves
            NaN in all features of a column, for a network that does without them.
        separator: What stands between columns: "comma", "semicolon", "tab" or "pipe", or the
            character itself; "auto" finds out, see `ugmm.data.dialect.find_dialect`.
        decimal: What stands before a number's decimals: "point" or "comma"; or "auto".
        encoding: How characters are encoded, see `ugmm.data.text_file.read_text`; or "auto".

    Returns:
        The table; its description says how it was read, and has a line for each column. Its rows
        are numbered from 1, as they stand below the names.

    Raises:
        UserError: If the file cannot be read, or a column is not what it should be; the line
            names the column and the remedy.
    """
    kind, asked = _find_asked(path, label, target)
    columns, how = read_cells(path, separator=separator, decimal=decimal, encoding=encoding)
    types = dict(types or {})
    _check_names(path, list(columns), kind, asked, types)
    used = [column for name, column in columns.items() if types.get(name) != "drop"]
    numbers = np.arange(1, 1 + len(next(iter(columns.values())).values))
    if missing == "drop":
        used, numbers = _keep_complete(path, used)
    _refuse_missing(used, kind, asked, missing)
    keep = missing == "keep"
    features = {c.name: encode(c, types.get(c.name), keep=keep) for c in used if c.name != asked}
    if not features:
        raise UserError(f"{path} has no column that could be a feature")
    column = next((c for c in used if c.name == asked), None)
    if column is None or target is None:
        answer, classes = read_classes(column, len(numbers)), column
    else:
        answer, classes = read_target(column), None
    return Table(
        x=np.hstack([column.x for column in features.values()]),
        y=answer.y,
        columns=tuple(column.column for column in features.values()),
        class_names=answer.class_names,
        label=label,
        target=Target(target) if target is not None else None,
        ignored=tuple(name for name in columns if name != asked and name not in features),
        fill_missing=missing == "mean",
        keep_missing=keep,
        numbers=numbers,
        description="\n".join(
            [
                _describe_file(path, how, columns, features, len(answer.y)),
                *_describe_columns(columns, features, {asked: (kind, answer.content)}),
                *_notes(columns, features, classes),
            ]
        ),
    )


def read_cells(
    path: str | Path, *, separator: str = "auto", decimal: str = "auto", encoding: str = "auto"
) -> tuple[dict[str, Cells], str]:
    """Return the columns of a CSV file by name, as texts, and how it was read; see `read_csv`.

    Raises:
        UserError: If the file cannot be read, or its rows are of different lengths.
    """
    text, encoding = read_text(Path(path), encoding)
    named, text = named_separator(text)
    stated = named or "auto" if separator == "auto" else separator
    dialect = find_dialect(lambda: io.StringIO(text, newline=""), stated, decimal)
    return _split(text, dialect, path), f"{encoding}, {dialect}"


def _split(text: str, dialect: Dialect, path: str | Path) -> dict[str, Cells]:
    """Return the columns of a text, by name."""
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.mark, strict=True)
    try:
        for row in reader:
            if row:  # not an empty line
                rows.append([plain_blanks(cell) for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; mend the quotes") from error
    if len(rows) < 2:
        raise UserError(f"{path} has no rows; it needs names in its first line and rows below")
    names = rows[0]
    check_names(path, names)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            raise UserError(
                f"{path}, line {line} has {len(row)} values for {len(names)} columns; mend it, "
                f"perhaps by quotes around a value with a {dialect.separator}, or set "
                "data.separator"
            )
    columns = zip(*rows[1:], strict=True)
    return {
        name: Cells(name, _without_missing(values), lines[1:], dialect)
        for name, values in zip(names, columns, strict=True)
    }


def _without_missing(values: Sequence[str]) -> list[str | None]:
    """Return values with None in the place of those that are missing."""
    missing = {value for value in set(values) if is_missing(value)}
    return [None if v in missing else v for v in values] if missing else list(values)


def _find_asked(
    path: str | Path, label: str | None, target: str | None
) -> tuple[Literal["label", "target"], str | None]:
    """Return whether rows have classes or numbers to predict, and the column of these."""
    if not str(path):
        raise UserError("no file is named; set data.path=table.csv")
    if label is not None and target is not None:
        raise UserError(
            f"{path}: rows have either classes, {label!r}, or a number to predict, {target!r}; "
            "name one of the two"
        )
    return ("label", label) if target is None else ("target", target)


def _check_names(
    path: str | Path, names: list[str], kind: str, asked: str | None, types: Mapping[str, str]
) -> None:
    """Refuse a label, a target or types that the columns do not allow."""
    if asked is not None and asked not in names:
        if len(names) == 1:
            raise UserError(
                f"data.{kind}={asked}: {path} has one column only, {names[0]!r}; set "
                "data.separator, or separate its columns by commas"
            )
        raise UserError(f"data.{kind}={asked}: {path} has no such column; {nearest(asked, names)}")
    for name, stated in types.items():
        if name not in names:
            raise UserError(f"data.types: {path} has no column {name!r}; {nearest(name, names)}")
        if stated not in get_args(ColumnType):
            raise UserError(f"data.types.{name}={stated} must be numeric, categorical or drop")
        if name == asked:
            raise UserError(f"data.types names {name!r}, the {kind}; leave it out there")


def _keep_complete(path: str | Path, columns: list[Cells]) -> tuple[list[Cells], np.ndarray]:
    """Return the columns without the rows that lack a value, and the numbers of the others."""
    complete = [None not in row for row in zip(*(c.values for c in columns), strict=True)]
    if not any(complete):
        raise UserError(f"{path}: every row lacks a value; use data.missing=mean or keep")
    return [column.keep(complete) for column in columns], 1 + np.flatnonzero(complete)


def _refuse_missing(columns: Iterable[Cells], kind: str, asked: str | None, missing: str) -> None:
    """Refuse missing values that nobody said what to do with."""
    for column in columns:
        lines = column.missing()
        if not lines or (missing in ("mean", "keep") and column.name != asked):
            continue
        remedy = f"use data.missing=drop, mean or keep, or {column.remedy('drop')}"
        if column.name == asked:
            remedy = f"leave out rows without a {kind} by data.missing=drop"
        raise UserError(
            f"column {column.name!r} has {len(lines)} missing value(s), the first in line "
            f"{lines[0]}; {remedy}"
        )


def _describe_file(
    path: str | Path,
    how: str,
    columns: Mapping[str, Cells],
    features: Mapping[str, Features],
    rows: int,
) -> str:
    """Return a line about the whole file: how it was read, and its size."""
    of = len(next(iter(columns.values())).values)
    width = sum(column.x.shape[1] for column in features.values())
    return f"{path} ({how}): {rows} rows{f' of {of}' * (rows < of)}, {width} features"


def _describe_columns(
    columns: Mapping[str, Cells],
    features: Mapping[str, Features],
    asked: Mapping[str | None, tuple[str, str]],
) -> list[str]:
    """Return a table of the columns, as they are in the file, a line each.

    Args:
        columns: They.
        features: What some of them become.
        asked: The type and the content of the one that is to be predicted, by its name.
    """
    found = [("column", "type", "missing", "values")]
    for name, column in columns.items():
        kind, content = asked.get(name, ("dropped", ""))
        if name in features:
            kind = "categorical" if features[name].column.categories else "numeric"
            content = features[name].content
            if np.ptp(features[name].x[~np.isnan(features[name].x)]) == 0:
                content += " (constant)"
        found.append((name, kind, str(len(column.missing())), content))
    width = min(max(len(row[0]) for row in found), 30)
    return [
        f"  {_cut(name, width):<{width}}  {kind:<11}  {gaps:>7}  {_cut(content, 40)}".rstrip()
        for name, kind, gaps, content in found
    ]


def _notes(
    columns: Mapping[str, Cells], features: Mapping[str, Features], classes: Cells | None
) -> list[str]:
    """Return a line about each thing that is perhaps not meant."""
    notes = []
    for name, feature in features.items():
        x = feature.x[:, 0]
        counts = len(x) >= _COUNTED and np.array_equal(np.sort(x), x.min() + np.arange(len(x)))
        if not feature.column.categories and counts:
            notes.append(
                f"column {name!r} only numbers the rows, {x.min():g} to {x.max():g}; leave it out "
                f"by {columns[name].remedy('drop')}"
            )
    if classes and has_decimals(classes.numbers()):
        notes.append(
            f"the label {classes.name!r} has decimals, and each of its numbers is a class of its "
            f"own; a quantity is predicted by data.target={classes.name} in the experiment "
            "diabetes_reg"
        )
    return [f"  note: {note}" for note in notes]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
