"""From what scikit-learn hands to an estimator to rows as a `Spec` reads them, by position."""

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import validate_data

from ugmm.columns import Column, fit_scaling, identify, is_missing
from ugmm.spec import Spec, column_of

__all__ = ["fit_columns", "fit_spec", "read_rows"]

_OF_WORDS = ("object", "str", "categor", "enum")  # how the types of such columns are called
_NUMBERS = (Real, Decimal, np.bool_)  # what a column of objects may hold beside words


def read_rows(estimator: Any, x: Any, columns: Sequence[Column] | None = None) -> np.ndarray:
    """Check what an estimator is given; return its rows.

    Args:
        estimator: Whose number and names of features are noted, or compared where there are
            `columns`.
        x: Rows in any form that scikit-learn knows; only a data frame may hold words.
        columns: What was found in training; None in training.

    Returns:
        (n, columns): float64, NaN where a value is missing; or objects, if there are columns of
        words, None where a value is missing or was not there in training.

    Raises:
        ValueError: If the rows are not what the estimator takes.
    """
    reset = columns is None
    places = _places_of_words(x) if columns is None else _categorical(columns)
    numeric: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
    if not places:
        return validate_data(estimator, x, reset=reset, **numeric)
    if not hasattr(x, "columns"):
        raise ValueError("X must be a data frame, as it was in fit: some columns hold words")
    validate_data(estimator, x, reset=reset, skip_check_array=True)
    rows = np.empty(x.shape, dtype=object)
    numbers = [place for place in range(x.shape[1]) if place not in places]
    if numbers:
        part = _safe_indexing(x, numbers, axis=1)
        rows[:, numbers] = check_array(part, **numeric)
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
    """
    columns = []
    for place, values in enumerate(rows.T):
        words = {}
        if rows.dtype == object:  # the shortest of several ways to write one number comes last
            found = {value for value in values if isinstance(value, str)}
            words = {identify(w): w for w in sorted(found, key=lambda w: (-len(w), w))}
        name = column_of(place).name if names is None else str(names[place])
        columns.append(Column(name, tuple(sorted(words.values()))))
    return tuple(columns)


def fit_spec(rows: np.ndarray, columns: Sequence[Column], class_names: tuple[str, ...]) -> Spec:
    """Return what a row is, standardised by training rows.

    Raises:
        ValueError: If nothing is known of a column, or a number is too large to be squared.
    """
    encoded = [column.encode(rows[:, i], keep_missing=True) for i, column in enumerate(columns)]
    features = np.hstack(encoded)
    names = [name for column in columns for name in column.features]
    _refuse(np.isnan(features).all(0), names, "has no value in any row to train on; leave it out")
    mean, std = fit_scaling(features)
    _refuse(~np.isfinite(std), names, "has values too large to be squared; rescale it")
    named = [column != column_of(place) for place, column in enumerate(columns)]
    return Spec(
        n_features=features.shape[1],
        class_names=class_names,
        columns=tuple(columns) if any(named) else (),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        keeps_missing=True,
    )


def _refuse(wrong: np.ndarray, names: Sequence[str], complaint: str) -> None:
    """Complain about the first of the features (N,) that are marked, if any."""
    if wrong.any():
        raise ValueError(f"column {names[int(wrong.argmax())]!r} {complaint}")


def _categorical(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in enumerate(columns) if column.categories]


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
        known = [v for v in _safe_indexing(x, place, axis=1) if not is_missing(v)]
        if str(dtype) == "object" and all(isinstance(v, _NUMBERS) for v in known):
            continue
        has_objects = str(dtype).lower().startswith(_OF_WORDS)
        strange = [v for v in known if not isinstance(v, (str, *_NUMBERS))]
        if strange or not has_objects:
            kind = type(strange[0]).__name__ if has_objects else dtype
            raise ValueError(
                f"column {name!r} is of type {kind}, which is neither numbers nor words; make it "
                "numbers, or encode it by OrdinalEncoder or OneHotEncoder"
            )
        places.append(place)
    return places


def _is_number(dtype: Any) -> bool:
    """Whether a type of pandas or polars is of numbers or truth values."""
    if hasattr(dtype, "is_numeric"):  # polars
        return dtype.is_numeric() or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "biuf"


def _word(value: Any) -> str | None:
    """Return a category as text, None if it is missing."""
    return None if is_missing(value) else " ".join(str(value).split())
