"""Columns of a file as a trained network takes them: in bulk, and as `ugmm.data.read_csv` does."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ugmm.columns import MISSING, Column, is_missing
from ugmm.data.dialect import Dialect
from ugmm.errors import RowError

__all__ = ["to_values"]

_MISSING = pa.array(MISSING)


def to_values(array: pa.Array, column: Column, dialect: Dialect) -> np.ndarray:
    """Return a column's values as `Column.encode` takes them.

    Args:
        array: They, in a file's own type, (n,).
        column: What they stand for.
        dialect: How numbers are written where they are texts.

    Returns:
        (n,) of a numeric type, or objects: texts, and None.

    Raises:
        RowError: If a text is no number in the file's own way to write these.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return _words(array) if column.categories else _read_numbers(array, column, dialect)
    if pa.types.is_nested(array.type):
        values = np.empty(len(array), dtype=object)
        values[:] = [str(value) for value in array.to_pylist()]
        return values
    return array.to_numpy(zero_copy_only=False)


def _words(array: pa.Array) -> np.ndarray:
    """Return texts as objects, one for all that are the same."""
    encoded = array.dictionary_encode()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return words[encoded.indices.fill_null(len(words) - 1).to_numpy()]


def _read_numbers(array: pa.Array, column: Column, dialect: Dialect) -> np.ndarray:
    numbers = _cast(array, dialect)
    if numbers is None:
        numbers = _cast(pc.utf8_trim_whitespace(array), dialect)
    return _read_each(array.to_pylist(), column, dialect) if numbers is None else numbers


def _cast(array: pa.Array, dialect: Dialect) -> np.ndarray | None:
    """Return texts as numbers, NaN where one is missing; None unless that is all they are."""
    missing = pc.is_in(pc.utf8_lower(array), value_set=_MISSING)
    known = pc.if_else(missing, None, array)
    if dialect.decimal == "comma":
        if pc.any(pc.match_substring(known, ".")).as_py():
            return None
        known = pc.replace_substring(known, ",", ".")
    try:
        numbers = known.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    if pc.any(pc.is_nan(numbers)).as_py():  # such as -nan, which Arrow takes for a number
        return None
    return numbers.to_numpy(zero_copy_only=False)


def _read_each(texts: Sequence[str | None], column: Column, dialect: Dialect) -> np.ndarray:
    """Return texts for whoever reads them one by one; with decimal commas, as numbers."""
    values = np.array(texts, dtype=object)
    if dialect.decimal == "comma":
        for row, text in enumerate(texts):
            if text is None or is_missing(text):
                values[row] = None
            elif (number := dialect.read_number(text)) is None:
                raise RowError(
                    f"column {column.name!r} is numeric, and",
                    row,
                    f" has {text!r} in it, where decimals stand behind a comma; give a number",
                )
            else:
                values[row] = number
    return values
