"""How a table is written: what separates its columns, and what a number's decimals."""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from ugmm.columns import is_missing, to_number
from ugmm.errors import UserError

__all__ = ["DECIMALS", "SEPARATORS", "Dialect", "find_dialect", "named_separator"]

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
DECIMALS = {"point": ".", "comma": ","}

_SAMPLE = 200  # records that are looked at
_WITH_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_NAMED = re.compile(r'("?)sep=([^\r\n])\1(?=\r|\n)', re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        separator: A name in `SEPARATORS`.
        decimal: A name in `DECIMALS`.
    """

    separator: str = "comma"
    decimal: str = "point"

    def __str__(self) -> str:
        return f"{self.separator}, decimal {self.decimal}"

    @property
    def mark(self) -> str:
        """The character between columns."""
        return SEPARATORS[self.separator]

    @property
    def other(self) -> "Dialect":
        """The same with the other decimal mark."""
        return replace(self, decimal="comma" if self.decimal == "point" else "point")

    def read_number(self, text: str) -> float | None:
        """Return the number that a text is, or None.

        A point beside a decimal comma groups thousands for one reader and is a decimal point for
        another: it makes no number.
        """
        if self.decimal == "point":
            return to_number(text)
        return None if "." in text else to_number(text.replace(",", "."))


def named_separator(text: str) -> tuple[str | None, str]:
    """Take off the first line in which spreadsheets name the separator, as in "sep=;".

    Returns:
        The character, or None; and the table, in which that line is empty: lines keep their
        numbers.
    """
    found = _NAMED.match(text)
    return (found[2], text[found.end() :]) if found else (None, text)


def find_dialect(
    lines: Callable[[], Iterable[str]], separator: str = "auto", decimal: str = "auto"
) -> Dialect:
    """Find out how a table is written, from its first records.

    The separator is the one by which all records have as many columns, at least two; of several,
    that by which most values are numbers. Numbers have decimal commas if some of them can only
    be read so and none has a decimal point.

    Args:
        lines: Begins to read the table's lines, which end as they do in the file.
        separator: A name in `SEPARATORS` or its character, where it is known.
        decimal: A name in `DECIMALS` or its character, where it is known.

    Raises:
        UserError: If there is no such separator or decimal mark.
    """
    asked = _named(separator, SEPARATORS, "separator")
    wanted = _named(decimal, DECIMALS, "decimal")
    candidates = [asked] if asked else list(SEPARATORS)
    tables = {name: _sample(lines(), SEPARATORS[name]) for name in candidates}
    even = {name: rows for name, rows in tables.items() if len({len(row) for row in rows}) == 1}
    wide = {name: rows for name, rows in even.items() if len(rows[0]) > 1}
    if wide:
        chosen = max(wide, key=lambda n: (_share_of_numbers(wide[n], n), len(wide[n][0])))
    else:  # of one column; or uneven, which whoever reads it all will say with its line
        chosen = max(tables, key=lambda name: len(tables[name][0]) if tables[name] else 0)
    return Dialect(chosen, wanted or _find_decimal(tables[chosen], chosen))


def _named(value: str, known: dict[str, str], key: str) -> str | None:
    """Return the name of a setting that is a name or a character; None for "auto"."""
    names = {mark: name for name, mark in known.items()} | {name: name for name in known}
    found = names.get("\t" if value == "\\t" else value)
    if found is None and value != "auto":
        raise UserError(f"data.{key}={value!r} must be auto, {', '.join(known)} or its character")
    return found


def _sample(lines: Iterable[str], mark: str) -> list[list[str]]:
    """Return the first records, without blanks around values, up to one that cannot be read."""
    reader = csv.reader(lines, delimiter=mark, strict=True)
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows.extend([cell.strip() for cell in row] for row in islice(reader, _SAMPLE) if row)
    return rows


def _share_of_numbers(rows: Sequence[Sequence[str]], separator: str) -> float:
    dialect = Dialect(separator, _find_decimal(rows, separator))
    cells = [cell for row in rows[1:] for cell in row if not is_missing(cell)]
    return sum(dialect.read_number(cell) is not None for cell in cells) / max(len(cells), 1)


def _find_decimal(rows: Sequence[Sequence[str]], separator: str) -> str:
    cells = [cell for row in rows[1:] for cell in row]
    with_comma = [cell for cell in cells if _WITH_COMMA.fullmatch(cell)]
    if not with_comma or any(_WITH_POINT.fullmatch(cell) for cell in cells):
        return "point"
    # "1,234" between commas was quoted for its thousands.
    grouped = separator == "comma" and all(_THOUSANDS.fullmatch(cell) for cell in with_comma)
    return "point" if grouped else "comma"
