"""What a row is: the columns that the user has, and the features that a network sees.

*Raw* rows are in the user's own units: centimetres, words, grey levels. *Model units* are those of
the data module's batches: a column of words has become features of 0 and 1, and numbers may have
been standardised. A `Spec` turns the one into the other, and is saved with the weights.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ugmm.columns import (
    Column,
    Target,
    columns_by_name,
    identify,
    is_missing,
    plain_blanks,
    to_array,
)
from ugmm.errors import RowError, UserError, nearest

__all__ = ["Column", "Spec", "Target", "column_of", "unit_pixels"]


@dataclass(frozen=True)
class Spec:
    """What the rows of a data set are.

    Attributes:
        n_features: Number of features, N.
        class_names: One name a class; empty where a number is predicted.
        columns: The user's columns, in the order in which an array has them; empty where they
            have no names: then each is a number, and they go by position.
        label: The column of the classes, which is no feature; None where it has no name.
        ignored: Other columns that are no features, and which rows may hold.
        mean: What was subtracted from each feature, N numbers; empty if nothing was scaled.
        std: What each was divided by afterwards.
        image_shape: Height and width if a row is an image.
        pixel_range: Between which values an image's pixels lie, raw. If they are 0 and 1, pixels
            may also be uint8, from 0 to 255.
        binary: Whether the network knows pixels of 0 and 1 only: grey ones are then rounded.
        keeps_missing: Whether it was trained on rows with values missing, and takes them so.
        target: The column of the numbers that are predicted, which is no feature; None where
            there are classes.
        merged: Names that rows may have in place of the last class's, which was made of classes
            too rare to be in every fold.

    Raises:
        UserError: If the numbers of columns, means and deviations do not fit one another.
    """

    n_features: int
    class_names: tuple[str, ...]
    columns: tuple[Column, ...] = ()
    label: str | None = None
    ignored: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_shape: tuple[int, int] | None = None
    pixel_range: tuple[float, float] | None = None
    binary: bool = False
    keeps_missing: bool = False
    target: Target | None = None
    merged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, found in (
            ("feature names", self.feature_names),
            ("means", self.mean),
            ("standard deviations", self.std),
        ):
            if found and len(found) != self.n_features:
                raise UserError(
                    f"there are {len(found)} {what} for {self.n_features} features; give one each"
                )
        if len(self.mean) != len(self.std):
            raise UserError("features have either both a mean and a deviation, or neither")

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names, or none."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def column_names(self) -> dict[str, str]:
        """The columns' names, by each name that a table may have for them: with the unit, too."""
        names = {column.name: column.name for column in self.columns}
        return names | {f"{c.name} ({c.unit})": c.name for c in self.columns if c.unit}

    @property
    def answer_name(self) -> str | None:
        """The column of what is predicted, which rows may hold; None where it has no name."""
        return self.label if self.target is None else self.target.name

    @property
    def log_jacobian(self) -> float:
        """What is added to a log-density in model units to make it one in raw units."""
        return -math.fsum(map(math.log, self.std))

    def log_jacobians(self, known: np.ndarray) -> np.ndarray:
        """Return the same for rows of which some features are known, (n, N), bool: (n,)."""
        return -(known @ np.log(self.std or (1.0,) * self.n_features))

    def encode(self, rows: Any) -> np.ndarray:
        """Turn raw rows into model units.

        Args:
            rows: A torch tensor, an array or a list of rows, whose columns go by position; a data
                frame or a mapping from names to columns, in any order, which may hold the label or
                target and the ignored columns too; images also as (n, H, W). One row alone is a
                batch of one.

        Returns:
            (n, N) float32; NaN where a value is missing, if `keeps_missing`.

        Raises:
            UserError: If the rows are not what the network was trained on; the line names the
                column and the remedy.
        """
        if self.keeps_missing:
            return self.encode_given(rows)
        features = self._read(rows)
        if not len(features):
            raise UserError("there are no rows; give at least one")
        features = self._fill(features)
        if self.pixel_range is not None:
            features = self._check_pixels(features, *self.pixel_range)
        return self.to_model_units(features)

    def encode_given(self, rows: Any) -> np.ndarray:
        """Turn raw rows of which not everything is known into model units.

        Args:
            rows: As for `encode`. What is missing (None, NaN, an empty text) is not known, and
                neither is a column that a data frame or a mapping has not got.

        Returns:
            (n, N) float32, NaN where a feature is not known.

        Raises:
            UserError: If what is known is not what the network was trained on.
        """
        features = self._read(rows, keep_missing=True)
        if not len(features):
            raise UserError("there are no rows; give at least one")
        if self.pixel_range is not None:
            features = self._check_pixels(features, *self.pixel_range)
        return self.to_model_units(features, keep_missing=True)

    def given_labels(self, rows: Any) -> np.ndarray | None:
        """Return the classes' numbers in the label's column, -1 where it is empty: (n,) or None.

        None where rows have no such column, as arrays have not.

        Raises:
            UserError: If there is a class that the network does not know.
        """
        named = dict(columns_by_name(rows) or []) if self.label is not None else {}
        if self.label not in named:
            return None
        places = dict.fromkeys(map(identify, self.merged), self.n_classes - 1)
        places |= {identify(name): place for place, name in enumerate(self.class_names)}
        found = []
        for row, value in enumerate(named[self.label]):
            place = -1 if is_missing(value) else places.get(identify(plain_blanks(str(value))))
            if place is None:
                raise RowError(
                    f"column {self.label!r} has {value!r} in",
                    row,
                    f", which is no class; {nearest(str(value), self.class_names)}",
                )
            found.append(place)
        return np.array(found, dtype=np.int64)

    def decode(self, x: Any) -> np.ndarray:
        """Turn model units into raw rows, as `encode` takes them: the likeliest category wins.

        NaN stays NaN.

        Args:
            x: (n, N), a tensor or an array.

        Returns:
            (n, columns): float64, or objects if there are categorical columns.
        """
        raw = to_array(x).astype(np.float64)
        if self.std:
            raw = raw * np.array(self.std) + np.array(self.mean)
        if not any(column.categories for column in self.columns):
            return raw
        rows = np.empty((len(raw), len(self.columns)), dtype=object)
        ends = np.cumsum([len(column.features) for column in self.columns])
        for place, part in enumerate(np.split(raw, ends[:-1], axis=1)):
            categories = self.columns[place].categories
            words = np.array(categories, dtype=object)
            rows[:, place] = words[part.argmax(axis=1)] if categories else part[:, 0]
            rows[np.isnan(part[:, 0]), place] = math.nan
        return rows

    def to_model_units(self, features: np.ndarray, *, keep_missing: bool = False) -> np.ndarray:
        """Standardise raw features (n, N), in float64, if the data set does so: float32.

        Raises:
            UserError: If a value is not finite, or too large; with `keep_missing`, it may be NaN.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # explained below, by name
            scaled = (
                (features - np.array(self.mean)) / np.array(self.std) if self.std else features
            )
            x = scaled.astype(np.float32)
        remedy = "mend it, or leave the row out"
        wrong = ~np.isfinite(x) & ~(np.isnan(features) & keep_missing)
        self._refuse(wrong, "has an infinite or too large value", remedy)
        return x

    def to_json(self) -> dict[str, Any]:
        """Return it as plain mappings, sequences, texts and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Spec":
        """Return the spec that `to_json` made this of.

        Raises:
            UserError: If it is something else.
        """
        try:
            columns = [Column(**_with_tuples(column)) for column in content["columns"]]
            target = None if (saved := content.get("target")) is None else Target(**saved)
            return cls(**_with_tuples({**content, "columns": columns, "target": target}))
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(
                f"what was saved about the rows is damaged, or from another version of ugmm "
                f"({error}); train again"
            ) from error

    def _read(self, rows: Any, *, keep_missing: bool = False) -> np.ndarray:
        """Return the raw features of rows of any kind: (n, N), of any numeric type."""
        if self.columns and (named := columns_by_name(rows)) is not None:
            ordered = self._put_in_order(named, may_lack=keep_missing)
            return _encode(self.columns, ordered, keep_missing)
        if isinstance(rows, Mapping):
            raise UserError("the network's columns have no names; give an array in their order")
        array = to_array(rows)
        if array.ndim == 0:
            raise UserError(
                f"rows cannot be of type {type(rows).__name__}; give a tensor, an array, a list "
                "of rows, a data frame or a mapping from names to columns"
            )
        array = self._as_table(array)
        if array.dtype == object or any(column.categories for column in self.columns):
            columns = self.columns or [column_of(place) for place in range(self.n_features)]
            return _encode(columns, list(array.T), keep_missing)
        return array

    def _as_table(self, array: np.ndarray) -> np.ndarray:
        """Return rows as (n, columns), be they one row, several, or images."""
        width = len(self.columns) or self.n_features
        if self.image_shape and array.ndim in (2, 3) and array.shape[-2:] == self.image_shape:
            return array.reshape(-1, width)
        if array.ndim == 1:
            array = array[None]
        if array.ndim == 2 and array.shape[1] == width:
            return array
        wanted = f"(n, {width})"
        if self.image_shape:
            wanted += " or (n, {}, {})".format(*self.image_shape)
        names = [column.name for column in self.columns]
        of = f": {', '.join(names[:10])}{', ...' * (len(names) > 10)}" if names else ""
        raise UserError(f"the rows have shape {array.shape}, and it must be {wanted}{of}")

    def match(
        self,
        names: Sequence[str],
        *,
        may_lack: bool,
        remedy: str = "leave it out",
    ) -> list[int | None]:
        """Return the place among some names of each of `columns`; of one that is lacking, None.

        Args:
            names: Of a table's columns, in any order; with units or without.
            may_lack: Whether a column may be lacking.
            remedy: What to do about a column that is not known.

        Raises:
            UserError: If there is an unknown column, or one twice, or one is lacking.
        """
        known, found = self.column_names, dict[str, int]()
        for place, name in enumerate(names):
            if name in known:
                if known[name] in found:
                    raise UserError(f"there are two columns {known[name]!r}; leave one out")
                found[known[name]] = place
            elif name != self.answer_name and name not in self.ignored:
                raise UserError(
                    f"unknown column {name!r}; {remedy}, or rename it: "
                    f"{nearest(name, [column.name for column in self.columns])}"
                )
        for column in self.columns:
            if column.name not in found and not may_lack:
                raise UserError(f"column {column.name!r} is missing; add it to the rows")
        return [found.get(column.name) for column in self.columns]

    def _put_in_order(
        self, named: Sequence[tuple[str, np.ndarray]], *, may_lack: bool = False
    ) -> list[np.ndarray]:
        """Return the columns' values in the order of `columns`; of one that is lacking, NaN."""
        places = self.match([name for name, _ in named], may_lack=may_lack)
        rows = next((len(values) for _, values in named if values.ndim), 0)
        lacking = np.full(rows, math.nan)
        ordered = [lacking if place is None else named[place][1] for place in places]
        for column, values in zip(self.columns, ordered, strict=True):
            if values.ndim != 1:
                raise UserError(
                    f"column {column.name!r} has shape {values.shape}, and it must be one list of "
                    "values"
                )
            if values.shape != ordered[0].shape:
                raise UserError(
                    f"column {column.name!r} has shape {values.shape}, and "
                    f"{self.columns[0].name!r} {ordered[0].shape}; make all of one length"
                )
        return ordered

    def _fill(self, features: np.ndarray) -> np.ndarray:
        """Replace missing numbers, or refuse them."""
        missing = np.isnan(features)
        if not missing.any():
            return features
        fills = [column.fill for column in self.columns for _ in column.features]
        known = np.array([math.nan if fill is None else fill for fill in fills or [None]])
        features = np.where(missing, known, features)
        remedy = "and none was missing in training; fill it in, or leave the row out"
        self._refuse(np.isnan(features), "has no value", remedy)
        return features

    def _check_pixels(self, x: np.ndarray, low: float, high: float) -> np.ndarray:
        """Return pixels within their range; uint8 are scaled to it if it is that of 0 and 1."""
        remedy = ""
        if (low, high) == (0, 1):
            remedy = "; divide them by 255, or give them as uint8"
            if x.dtype == np.uint8:
                if x.max() == 1:
                    raise UserError(
                        "pixels of type uint8 go from 0 to 255, these to 1; give them as floats"
                    )
                x = unit_pixels(x)
        known = x[~np.isnan(x)]
        least, most = (float(known.min()), float(known.max())) if len(known) else (low, high)
        if not low <= least <= most <= high:
            raise UserError(
                f"the pixels go from {least:.9g} to {most:.9g}, and those trained on from "
                f"{low:g} to {high:g}{remedy}"
            )
        return np.where(np.isnan(x), x, x > 0.5).astype(np.float32) if self.binary else x

    def _refuse(self, wrong: np.ndarray, complaint: str, remedy: str) -> None:
        """Complain about the first of the values (n, N) that are marked, if any."""
        if wrong.any():
            row, place = np.argwhere(wrong)[0]
            name = repr(self.feature_names[place]) if self.columns else f"number {place}"
            raise RowError(f"column {name} {complaint} in", int(row), f", {remedy}")


def column_of(place: int) -> Column:
    """Return the column of an input that has no name."""
    return Column(str(place))


def unit_pixels(images: np.ndarray) -> np.ndarray:
    """Scale pixels of type uint8 to float32 in [0, 1]."""
    x = images.astype(np.float32)
    x /= 255
    return x


def _encode(
    columns: Sequence[Column], values: Sequence[np.ndarray], keep_missing: bool
) -> np.ndarray:
    pairs = zip(columns, values, strict=True)
    return np.hstack([column.encode(each, keep_missing=keep_missing) for column, each in pairs])


def _with_tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists only."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
