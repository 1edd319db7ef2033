"""Tables in files, CSV or Parquet, of which a block of rows is read at a time."""

import csv
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ugmm.columns import check_names, plain_blanks
from ugmm.data.dialect import Dialect, find_dialect
from ugmm.data.text_file import check_regular
from ugmm.deploy.predicting.text import TextFile
from ugmm.errors import UserError
from ugmm.reading import reading
from ugmm.stated import Stated
from ugmm.writing import explaining

__all__ = ["Block", "Table", "open_table"]

Block = list[pa.Array]  # of the columns that were asked for, in their order

_CELLS = 1 << 18  # of a block
_BYTES = 1 << 21  # likewise
_PARQUET = b"PAR1"


class Table(ABC):
    """A table, whose columns all have a name of their own.

    Attributes:
        name: What it is called in errors.
        names: Its columns'.
        rows: How many it has, about.
        dialect: How its numbers are written where its cells are texts.
    """

    name: str
    names: list[str]
    rows: int
    dialect = Dialect()

    @abstractmethod
    def blocks(self, places: Sequence[int]) -> Iterator[Block]:
        """Yield the columns in some places, a block of rows after the other.

        Raises:
            UserError: If it is damaged.
        """


@contextmanager
def open_table(path: str, stated: Stated | None = None) -> Iterator[Table]:
    """Open a CSV or Parquet file, which is told by how it begins.

    Args:
        path: The file; `-` is standard input.
        stated: How it is written, if it is CSV; None: that is found out.

    Raises:
        UserError: If it cannot be read, or has no rows.
    """
    with _as_file(path) as (file, name):
        with file.open("rb") as stream:
            is_parquet = stream.read(len(_PARQUET)) == _PARQUET
        yield ParquetTable(file, name) if is_parquet else CsvTable(file, name, stated or Stated())


@contextmanager
def _as_file(path: str) -> Iterator[tuple[Path, str]]:
    """Give a file that can be read more than once, and its name."""
    if path != "-":
        with reading(Path(path)):
            if not Path(path).exists():
                raise UserError(
                    f"no file at {path}; name a CSV or Parquet file, or - for standard input"
                )
            check_regular(Path(path))
            with Path(path).open("rb"):
                pass
        yield Path(path), path
        return
    with tempfile.TemporaryDirectory(prefix="ugmm-") as folder:
        copy = Path(folder) / "input"
        with explaining(f"a copy of standard input in {folder}"), copy.open("wb") as file:
            if sys.stdin is not None:
                shutil.copyfileobj(sys.stdin.buffer, file, _BYTES)
        yield copy, "standard input"


class CsvTable(Table):
    """A CSV file: names in the first line, and rows below, read as `ugmm.data.read_csv` does.

    Arguments:
        path: The file.
        name: What it is called in errors.
        stated: How it is written.

    Raises:
        UserError: If it cannot be read, or has no names.
    """

    def __init__(self, path: Path, name: str, stated: Stated) -> None:
        if stated.source:
            name = f"{name} ({stated.source})"
        self.file, self.name = TextFile(path, name, stated.encoding), name

        def lines() -> Iterator[str]:
            with self.file.open() as text:
                yield from text

        named = self.file.separator or "auto"
        separator = named if stated.separator == "auto" else stated.separator
        self.dialect = find_dialect(lines, separator, stated.decimal)
        header = next(self._records(), None)
        if header is None:
            raise UserError(f"{name} is empty; it needs names in its first line and rows below")
        self.names = [plain_blanks(cell) for cell in header]
        check_names(name, self.names)
        self.rows = self.file.lines - 1

    def _records(self, told: Callable[[int], None] | None = None) -> Iterator[list[str]]:
        """Yield the cells of every record, the names first, and tell in which line each ends."""
        with self.file.open() as text:
            reader = csv.reader(text, delimiter=self.dialect.mark, strict=True)
            before = 0 if self.file.separator is None else 1
            try:
                for record in reader:
                    if record:  # no empty line
                        if told is not None:
                            told(before + reader.line_num)
                        yield record
            except csv.Error as error:
                line = before + reader.line_num
                raise UserError(f"{self.name}, line {line}: {error}; mend the quotes") from None

    def blocks(self, places: Sequence[int]) -> Iterator[Block]:
        """Yield blocks of texts.

        Arrow finds the cells, in an eighth of the time that the reader of `ugmm.data.read_csv`
        takes. To that is left what the two might not read alike, and what to say about a mistake.
        """
        read = 0
        if not self.file.has_stray_quotes(self.dialect.mark):
            with suppress(pa.ArrowInvalid):
                for block in self._by_arrow(places):
                    read += len(block[0])
                    yield block
                if read:
                    return
        yield from self._by_python(places, read)

    def _by_arrow(self, places: Sequence[int]) -> Iterator[Block]:
        names = [str(place) for place in range(len(self.names))]
        wanted = [names[place] for place in places]
        lines: list[int] = []
        next(self._records(lines.append))
        with self.file.open_bytes() as file:
            batches = pyarrow.csv.open_csv(
                file,
                pyarrow.csv.ReadOptions(
                    column_names=names,
                    skip_rows=lines[0],
                    block_size=_BYTES,
                    encoding=self.file.encoding.removesuffix("-sig"),
                ),
                pyarrow.csv.ParseOptions(
                    delimiter=self.dialect.mark, newlines_in_values=self.file.has_quotes
                ),
                pyarrow.csv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
                ),
            )
            for batch in batches:
                if batch.num_rows:
                    yield batch.columns

    def _by_python(self, places: Sequence[int], skipped: int) -> Iterator[Block]:
        records = islice(self._records(), 1 + skipped, None)
        width, read = len(self.names), skipped
        while rows := list(islice(records, max(1, _CELLS // width))):
            if set(map(len, rows)) != {width}:
                self._refuse_length(read + [len(row) == width for row in rows].index(False))
            read += len(rows)
            columns = list(zip(*rows, strict=True))
            yield [pa.array(columns[place], pa.string()) for place in places]
        if not read:
            raise UserError(
                f"{self.name} has no rows; it needs names in its first line and rows below"
            )

    def _refuse_length(self, row: int) -> None:
        lines: list[int] = []
        record = next(islice(self._records(lines.append), 1 + row, None))
        raise UserError(
            f"{self.name}, line {lines[-1]} has {len(record)} values for {len(self.names)} "
            f"columns; mend it, perhaps by quotes around a value with a {self.dialect.separator}"
        )


class ParquetTable(Table):
    """A Parquet file.

    Arguments:
        path: The file.
        name: What it is called in errors.

    Raises:
        UserError: If it cannot be read.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        with self._reading():
            self.file = pyarrow.parquet.ParquetFile(path)
            self.columns = self.file.schema_arrow.names
            self.rows = self.file.metadata.num_rows
        self.names = [plain_blanks(column) for column in self.columns]
        check_names(name, self.names)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        # A damaged file may ask for any amount of memory, and hold texts that are none.
        except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
            raise UserError(
                f"{self.name} is a damaged Parquet file ({error}); make it again"
            ) from None

    def blocks(self, places: Sequence[int]) -> Iterator[Block]:
        """Yield blocks of the columns' own types."""
        wanted = [self.columns[place] for place in places]
        with self._reading():
            batches = self.file.iter_batches(max(1, _CELLS // len(places)), columns=wanted)
        read = 0
        while True:
            with self._reading():
                batch = next(batches, None)
                if batch is None:
                    break
                batch.validate(full=True)
                block = [batch.column(name) for name in wanted]
            if batch.num_rows:
                read += batch.num_rows
                yield block
        if not read:
            raise UserError(f"{self.name} has no rows; give at least one")
