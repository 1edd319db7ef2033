"""Where answers go: standard output or a file, which is whole or not there."""

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ugmm.answers import number_texts
from ugmm.errors import UserError
from ugmm.report.escaping import for_spreadsheet
from ugmm.terminal import answer
from ugmm.writing import explaining, replacing

__all__ = ["Columns", "check_output", "writing_answers"]

Columns = Mapping[str, np.ndarray | pa.Array]  # of one length
Write = Callable[[Columns], bool]  # a block after the other; whether somebody reads on

_STDIN = 0  # its descriptor
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def check_output(out: str | None, data: str) -> None:
    """Refuse a file that could not be written, before there is anything to write.

    Args:
        out: The file; None: standard output.
        data: Where the rows come from, whose file no answers may replace; `-`: standard input.

    Raises:
        UserError: If it has another suffix, is in no folder that is there, or is the rows' own.
    """
    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")
    if path.exists() and not path.is_file():  # such as /dev/null, or a pipe
        return
    if not out.endswith(_SUFFIXES):
        raise UserError(f"--out {out} must end in .csv, .csv.gz or .parquet")
    if not path.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {path.parent}; make it, or name another")
    with suppress(OSError):  # one of the two is not there
        if os.path.samestat(os.stat(out), os.stat(_STDIN if data == "-" else data)):
            raise UserError(f"--out {out} is the file of the rows; name another")


@contextmanager
def writing_answers(out: str | None) -> Iterator[Write]:
    """Give a function that writes blocks of answers, of the same columns.

    Args:
        out: A file, by whose suffix it is CSV, gzipped CSV or Parquet; None: CSV to standard
            output.

    Raises:
        WriteError: If it cannot be written.
    """
    if out is None:
        with explaining("standard output"):
            yield _CsvWriter(answer)
    elif out.endswith(".parquet"):
        with replacing(Path(out)) as temporary, _writing_parquet(temporary) as write:
            yield write
    else:
        with replacing(Path(out)) as temporary, temporary.open("wb") as file:
            if not out.endswith(".gz"):
                yield _CsvWriter(lambda text: bool(file.write(text.encode())))
                return
            # Without the time and the name: the same answers make the same file.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                yield _CsvWriter(lambda text: bool(packed.write(text.encode())))


class _CsvWriter:
    def __init__(self, put: Callable[[str], bool]) -> None:
        self.put, self.begun = put, False

    def __call__(self, columns: Columns) -> bool:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self.begun:
            writer.writerow(map(for_spreadsheet, columns))
            self.begun = True
        writer.writerows(zip(*map(_cells, columns.values()), strict=True))
        return self.put(text.getvalue())


def _cells(column: np.ndarray | pa.Array) -> list[Any]:
    """Return a column's cells; the user's own stay as they are."""
    if isinstance(column, pa.Array):
        return column.to_pylist()
    if column.dtype.kind == "f":
        return number_texts(column)
    shown = {name: for_spreadsheet(name) for name in set(column)}
    return [shown[name] for name in column]


@contextmanager
def _writing_parquet(path: Path) -> Iterator[Write]:
    writers: list[pyarrow.parquet.ParquetWriter] = []

    def write(columns: Columns) -> bool:
        table = pa.table({name: _as_array(column) for name, column in columns.items()})
        if not writers:
            writers.append(pyarrow.parquet.ParquetWriter(path, table.schema))
        writers[0].write_table(table)
        return True

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _as_array(column: np.ndarray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return pa.array(column, pa.string() if column.dtype == object else None)
