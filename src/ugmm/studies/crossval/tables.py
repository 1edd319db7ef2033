"""The tables that fits are given: which of their cells are hidden, and what fills the gaps."""

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from ugmm.config.choices.data import DataConfig
from ugmm.errors import UserError

__all__ = [
    "IMPUTERS",
    "Imputer",
    "Rows",
    "check_cut",
    "dequantize",
    "fill_gaps",
    "hide_cells",
    "read_rows",
]

Imputer = Literal["mean", "iterative"]
IMPUTERS: tuple[Imputer, ...] = get_args(Imputer)

_ROUNDS = 5  # of the iterative imputer
_MOST_KEPT = 16  # filled tables: those of one outer fold, for all models and settings


@dataclass(frozen=True)
class Rows:
    """A table.

    Attributes:
        x: Features, (n, N) float64; NaN where a value is missing.
        y: Labels, (n,).
        columns: Which column each feature is of, (N,): a category is several features.
        class_names: One name a class.
    """

    x: np.ndarray
    y: np.ndarray
    columns: np.ndarray
    class_names: tuple[str, ...]

    @property
    def has_gaps(self) -> bool:
        """Whether values are missing in the table itself."""
        return bool(np.isnan(self.x).any())

    @property
    def digest(self) -> str:
        """A hash of all its numbers."""
        parts = (self.x, self.y, self.columns)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def read_rows(
    config: DataConfig, most: int | None = None, least_noise: float | None = None
) -> Rows:
    """Return the rows of a data set.

    Args:
        config: The data set.
        most: How many rows are kept of a larger one: drawn once, as large a share of each class.
        least_noise: If given, only whole rows are kept, and they are made continuous; see
            `dequantize`.

    Raises:
        UserError: If they cannot be had, or not be cut to so many; or if none is whole that must
            be.
    """
    data = config.build(seed=0)
    x, y = (t.numpy() for t in data.rows())
    if least_noise is not None:
        whole = ~np.isnan(x).any(1)
        if not whole.any():
            raise UserError(
                "every row has a gap, and dequantize keeps whole rows alone; set it to null"
            )
        x, y = x[whole], y[whole]
    if most is not None and len(y) > most:
        from sklearn.model_selection import train_test_split

        check_cut(y, data.class_names, most)
        x, _, y, _ = train_test_split(x, y, train_size=most, stratify=y, random_state=0)
    columns = data.describe_rows().columns
    widths = [len(column.features) for column in columns] or [1] * x.shape[1]
    rows = Rows(x, y, np.repeat(np.arange(len(widths)), widths), tuple(data.class_names))
    return rows if least_noise is None else dequantize(rows, least_noise)


def dequantize(rows: Rows, least: float) -> Rows:
    """Return a table whose values were made continuous, so that no density of it is unbounded.

    Every value has uniform noise added, as wide as the smallest step between the values of its
    feature. In units of these steps the mean log-density of the result is at most the mean
    log-probability of the values themselves (Theis et al., arXiv:1511.01844). A smaller step than
    `least` standard deviations counts as one of that, since values written with many digits may
    repeat, too: noise that is wider than the smallest step blurs values into each other, and the
    bound does not hold. Features that are constant are left out.

    Args:
        rows: Without gaps.
        least: The least width, in standard deviations of the feature.
    """
    varies = np.ptp(rows.x, axis=0) > 0
    x = rows.x[:, varies]
    steps = np.array([np.diff(np.unique(values)).min() for values in x.T])
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, x.shape)
    x = x + noise * np.maximum(steps, least * x.std(0))
    return replace(rows, x=x, columns=rows.columns[varies])


def check_cut(y: np.ndarray, class_names: Sequence[str], most: int) -> None:
    """Refuse a cut that cannot have the shares of the classes.

    Args:
        y: Labels, (n,).
        class_names: One name a class.
        most: How many rows are kept, fewer than n.

    Raises:
        UserError: If a class has a single row, or fewer rows than classes are kept or left out.
    """
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        name = class_names[int(classes[counts.argmin()])]
        raise UserError(
            f"rows={most} cannot be drawn with the shares of the classes: class {name!r} has a "
            "single row; leave that class out, or set rows to null"
        )
    if not len(classes) <= most <= len(y) - len(classes):
        raise UserError(
            f"rows={most} of {len(y)} cannot be drawn with the shares of {len(classes)} classes, "
            f"each of which is kept and left out in part; set rows from {len(classes)} to "
            f"{len(y) - len(classes)}, or to null for all"
        )


def hide_cells(rows: Rows, share: float, seed: int) -> np.ndarray:
    """Return the features with a share of the table's cells missing, completely at random.

    Those of a category go together. What is missing at one share is missing at each that is
    larger, with the same seed.
    """
    if not share:
        return rows.x
    draws = np.random.default_rng(seed).random((len(rows.x), int(rows.columns.max()) + 1))
    return np.where((draws < share)[:, rows.columns], np.nan, rows.x)


_filled: OrderedDict[bytes, tuple[np.ndarray, np.ndarray]] = OrderedDict()


def fill_gaps(how: Imputer, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill what is missing in standardised rows, by what the training rows show.

    Args:
        how: "mean" of the column's known values; "iterative": Bayesian ridge regression of each
            column on the others, in turns (scikit-learn's `IterativeImputer`).
        train: Training rows, (n, N), NaN where a value is missing.
        test: Other rows, (m, N).
    """
    if how == "mean":
        return np.nan_to_num(train), np.nan_to_num(test)  # standardised: the mean is 0
    # All models are given the same rows one after the other, and this takes longer than most.
    key = hashlib.sha256(train.tobytes() + test.tobytes()).digest()
    if key not in _filled:
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that more rounds would change the values a little
            imputer = IterativeImputer(max_iter=_ROUNDS, random_state=0).fit(train)
            _filled[key] = imputer.transform(train), imputer.transform(test)
        while len(_filled) > _MOST_KEPT:
            _filled.popitem(last=False)
    return _filled[key]
