"""Rows in a user's file, and answers written beside them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ugmm.answers import number_cell
from ugmm.data.csv_columns import Cells
from ugmm.data.csv_table import read_cells
from ugmm.data.text_file import check_regular
from ugmm.errors import UserError
from ugmm.report.escaping import csv_text
from ugmm.spec import Spec, column_of
from ugmm.stated import Stated
from ugmm.terminal import answer
from ugmm.writing import explaining, write_atomic

__all__ = [
    "column_names",
    "read_given",
    "row_cells",
    "write_csv",
]


def read_given(path: str | Path, spec: Spec, stated: Stated) -> Any:
    """Return the rows of a CSV file, empty cells as None: by column, or by position.

    Where a network's columns have no names, as an image's pixels, the file's go by position and
    there must be as many.

    Args:
        path: The file.
        spec: What a row is.
        stated: How the file is written.

    Raises:
        UserError: If the file cannot be read, or has other columns.
    """
    if not Path(path).exists():
        raise UserError(f"no file at {path}; name one by --given")
    check_regular(Path(path))
    try:
        cells, _ = read_cells(
            path, encoding=stated.encoding, separator=stated.separator, decimal=stated.decimal
        )
    except UserError as error:
        raise UserError(f"{error}; {stated.source}" if stated.source else str(error)) from error
    words = {column.name for column in spec.columns if column.categories} | {spec.label}
    columns = {name: _values(each, is_text=name in words) for name, each in cells.items()}
    if spec.columns:
        return columns
    if len(columns) != spec.n_features:
        raise UserError(
            f"{path} has {len(columns)} columns, and the network {spec.n_features} inputs without "
            "names; give one column for each, in their order"
        )
    return np.array(list(columns.values()), dtype=object).T


def _values(column: Cells, *, is_text: bool) -> np.ndarray:
    """Return a column's values: numbers where the file's marks make them such, else texts."""
    values = np.empty(len(column.values), dtype=object)
    if is_text or column.dialect.decimal == "point":
        values[:] = column.values
    else:  # what is a number in the file's own marks only, such as 1,5, would be none elsewhere
        pairs = zip(column.values, column.numbers(), strict=True)
        values[:] = [text if number is None else number for text, number in pairs]
    return values


def column_names(spec: Spec) -> list[str]:
    """Return the names of a raw row's columns."""
    columns = spec.columns or map(column_of, range(spec.n_features))
    return [column.name for column in columns]


def row_cells(row: Sequence[Any]) -> list[Any]:
    """Return a raw row as cells."""
    return [cell if isinstance(cell, str) else number_cell(cell) for cell in row]


def write_csv(lines: Iterable[Sequence[Any]], out: str | None) -> None:
    """Write lines as CSV, to standard output or into a file, which is whole or not there.

    Raises:
        WriteError: If it cannot be written.
    """
    text = csv_text(lines)
    if out is None:
        with explaining("standard output"):
            answer(text)
    else:
        write_atomic(Path(out), text)
