"""From what scikit-learn hands to an estimator to rows as a `Spec` reads them, by position."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import validate_data

from ugmm.columns import Column, fit_scaling, identify, is_missing
from ugmm.spec import Spec, column_of

__all__ = ["fit_columns", "fit_spec", "read_rows"]

_OF_WORDS = ("object", "str", "categor", "enum")  # how the types of such columns are called


def read_rows(
    estimator: Any, x: Any, columns: Sequence[Column] | None = None, **checks: Any
) -> np.ndarray:
    """Check what an estimator is given; return its rows.

    Args:
        estimator: Whose number and names of features are noted, or compared where there are
            `columns`.
        x: Rows in any form that scikit-learn knows; only a data frame may hold words.
        columns: What was found in training; None in training.
        checks: Of `sklearn.utils.validation.validate_data`; y among them is looked at only for
            being there.

    Returns:
        (n, columns): float64, NaN where a value is missing; or objects, if there are columns of
        words, None where a value is missing or was not there in training.

    Raises:
        ValueError: If the rows are not what the estimator takes.
    """
    reset = columns is None
    places = _places_of_words(x) if columns is None else _categorical(columns)
    if not places:
        checks.pop("y", None)
        numeric = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
        return validate_data(estimator, x, reset=reset, **numeric, **checks)
    if not hasattr(x, "columns"):
        raise ValueError("X must be a data frame, as it was in fit: some columns hold words")
    validate_data(estimator, x, reset=reset, skip_check_array=True)
    rows = np.empty(x.shape, dtype=object)
    numbers = [place for place in range(x.shape[1]) if place not in places]
    if numbers:
        part = _safe_indexing(x, numbers, axis=1)
        rows[:, numbers] = check_array(part, dtype=np.float64, ensure_all_finite="allow-nan")
    for place in places:
        words = [_word(value) for value in _safe_indexing(x, place, axis=1)]
        if columns is not None:
            known = set(map(identify, columns[place].categories))
            words = [word if word and identify(word) in known else None for word in words]
        rows[:, place] = words
    return rows


def fit_columns(rows: np.ndarray, names: Sequence[str] | None) -> tuple[Column, ...]:
    """Return what the columns of training rows are.

    Args:
        rows: From `read_rows`.
        names: What they are called, if they are.

    Raises:
        ValueError: If nothing is known of one of them.
    """
    names = [column_of(place).name for place in range(rows.shape[1])] if names is None else names
    if rows.dtype != object:
        _refuse_empty(names, np.isnan(rows).all(axis=0))
        return tuple(map(Column, names))
    known = [[value for value in column if not is_missing(value)] for column in rows.T]
    _refuse_empty(names, np.array([not values for values in known]))
    columns = []
    for name, values in zip(names, known, strict=True):
        words = {identify(word): word for word in sorted(filter(_is_word, values))}
        columns.append(Column(name, tuple(sorted(words.values()))))
    return tuple(columns)


def fit_spec(rows: np.ndarray, columns: Sequence[Column], class_names: tuple[str, ...]) -> Spec:
    """Return what a row is, standardised by training rows.

    Raises:
        ValueError: If a number is too large to be squared.
    """
    encoded = [column.encode(rows[:, i], keep_missing=True) for i, column in enumerate(columns)]
    features = np.hstack(encoded)
    mean, std = fit_scaling(features)
    if not np.isfinite(std).all():
        names = [name for column in columns for name in column.features]
        large = names[int((~np.isfinite(std)).argmax())]
        raise ValueError(f"column {large!r} has values too large to be squared; rescale it")
    return Spec(
        n_features=features.shape[1],
        class_names=class_names,
        columns=tuple(columns),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        keeps_missing=True,
    )


def _categorical(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in enumerate(columns) if column.categories]


def _refuse_empty(names: Sequence[str], empty: np.ndarray) -> None:
    if empty.any():
        raise ValueError(
            f"column {names[int(empty.argmax())]!r} has no value in any row; leave it out"
        )


def _places_of_words(x: Any) -> list[int]:
    """Return which columns of a data frame hold words; none of other rows.

    Raises:
        ValueError: If a column holds neither numbers nor words.
    """
    if not (hasattr(x, "columns") and hasattr(x, "dtypes")):
        return []
    places = []
    for place, (name, dtype) in enumerate(zip(x.columns, x.dtypes, strict=True)):
        if _is_number(dtype):
            continue
        values = _safe_indexing(x, place, axis=1)
        if str(dtype) == "object" and all(is_missing(v) or isinstance(v, Real) for v in values):
            continue
        if not str(dtype).lower().startswith(_OF_WORDS):
            raise ValueError(
                f"column {name!r} is of type {dtype}, which is neither numbers nor words; make it "
                "numbers, or encode it by OrdinalEncoder or OneHotEncoder"
            )
        places.append(place)
    return places


def _is_number(dtype: Any) -> bool:
    """Whether a type of pandas or polars is of numbers or truth values."""
    if hasattr(dtype, "is_numeric"):  # polars
        return dtype.is_numeric() or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "biuf"


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _word(value: Any) -> str | None:
    """Return a category as text, None if it is missing."""
    return None if is_missing(value) else " ".join(str(value).split())
