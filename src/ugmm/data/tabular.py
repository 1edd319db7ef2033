"""Tables of measurements: cross-validated in stratified folds, and standardised."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ugmm.columns import fit_scaling, to_number
from ugmm.data.module import InMemoryDataModule, Split, SplitName, check_range
from ugmm.errors import UserError, list_some
from ugmm.spec import Column, Spec

__all__ = ["SCIKIT", "Table", "TabularDataModule", "load_scikit"]

Rare = Literal["error", "drop", "merge"]
SCIKIT = ("iris", "wine", "breast_cancer", "digits")


@dataclass(frozen=True)
class Table:
    """Rows of numbers and their classes.

    Attributes:
        x: Features, (n, N) float64; NaN where a value is missing.
        y: Classes, (n,) int64 from 0; all 0 in a table without a label.
        columns: What the N features are made of.
        class_names: One name a class.
        label: The column of the classes; None where it has no name.
        ignored: Other columns that are no features; see `ugmm.spec.Spec`.
        fill_missing: Whether a trained network fills in numbers that are missing in the columns
            that miss none here; what is missing here is filled in in any case.
        keep_missing: Whether nothing is filled in: what is missing stays NaN, in all features of
            its column, here and for a trained network.
        image_shape: Height and width if a row is an image, else None.
        pixel_range: See `ugmm.spec.Spec`.
        description: What to tell whoever trains on it; "" for nothing.
    """

    x: np.ndarray
    y: np.ndarray
    columns: tuple[Column, ...]
    class_names: tuple[str, ...]
    label: str | None = None
    ignored: tuple[str, ...] = ()
    fill_missing: bool = False
    keep_missing: bool = False
    image_shape: tuple[int, int] | None = None
    pixel_range: tuple[float, float] | None = None
    description: str = ""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The N features' names."""
        return tuple(name for column in self.columns for name in column.features)


def load_scikit(name: str) -> Table:
    """Return a data set that comes with scikit-learn, by its name in `SCIKIT`.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in SCIKIT:
        raise UserError(f"there is no data set {name!r}; there are {', '.join(SCIKIT)}")
    from sklearn import datasets  # a second to import, and MNIST has no use for it

    loaded = getattr(datasets, f"load_{name}")()
    return Table(
        loaded.data,
        loaded.target.astype(np.int64),
        tuple(_column(str(feature)) for feature in loaded.feature_names),
        tuple(map(str, loaded.target_names)),
        label="target",
        image_shape=(8, 8) if name == "digits" else None,
        pixel_range=(0.0, 16.0) if name == "digits" else None,
    )


def _column(name: str) -> Column:
    """Return the column of scikit-learn's feature `sepal length (cm)`.

    Its name is without the unit, since the features are served standardised.
    """
    bare = name.removesuffix(" (cm)")
    return Column(bare, unit="cm" if bare != name else "")


def without_rare(table: Table, least: int, rare: Rare) -> Table:
    """Return a table in which every class has at least so many rows, and says what it did.

    Args:
        table: The table.
        least: How many rows a class needs.
        rare: "drop" leaves out the rows of classes with fewer, "merge" makes one class of them.

    Raises:
        UserError: If fewer than two classes are left, or all of them together are too few.
    """
    rows = np.bincount(table.y, minlength=len(table.class_names))
    few = rows < least
    if not few.any():
        return table
    kept = np.flatnonzero(~few)
    names = [table.class_names[c] for c in kept]
    places = np.cumsum(~few) - 1
    named = [f"{table.class_names[c]!r} ({rows[c]})" for c in np.flatnonzero(few)]
    of = f"with fewer than {least} rows, {list_some(named, 5)}, are"
    if rare == "drop":
        chosen = ~few[table.y]
        x, y, done = table.x[chosen], places[table.y[chosen]], "left out"
    else:
        name = "other"
        while name in names:
            name += "_"
        if rows[few].sum() < least:
            raise UserError(
                f"data.rare=merge: the classes {of} too few together, too; use data.rare=drop"
            )
        x, y = table.x, np.where(few, len(names), places)[table.y]
        names, done = [*names, name], f"merged into class {name!r}"
    if len(names) < 2:
        raise UserError(f"data.rare={rare} leaves less than two classes: those {of} {done}")
    said = f"{table.description}\n  data.rare={rare}: classes {of} {done}".lstrip("\n")
    return replace(table, x=x, y=y, class_names=tuple(names), description=said)


def has_decimals(numbers: Iterable[float | None]) -> bool:
    """Whether one of some numbers is no integer, nor infinite."""
    return any(n is not None and math.isfinite(n) and n % 1 for n in numbers)


def _remedy(table: Table) -> str:
    """Return what to do about a class with too few rows."""
    if has_decimals(to_number(name.replace(",", ".")) for name in table.class_names):
        return (
            f"each number of the label {table.label!r} is a class of its own, and there is no "
            "regression here: round or bin it, if it is a quantity"
        )
    return (
        "lower data.folds, or leave out such classes by data.rare=drop, or merge them by "
        "data.rare=merge"
    )


class TabularDataModule(InMemoryDataModule):
    """A table in stratified folds, standardised by the training rows.

    The rows are dealt into `folds` stratified folds, shuffled by the seed: `fold` is the test
    set, and of the rest a stratified `val_fraction` is held out for validation. The folds of
    one seed are disjoint and together are all rows. Values that are missing become the mean of
    the training rows' values, unless the table keeps them.

    Args:
        source: A name in `SCIKIT`, or a table such as `ugmm.data.read_csv` returns.
        batch_size: Rows of a batch; as many as the table has, or more, make each epoch one batch.
        folds: Number of folds, from 2 to as many as the smallest class has rows.
        fold: Which of them is the test set, 0 to folds - 1.
        val_fraction: Fraction of the other rows held out for validation. With 0 there is no
            validation split: all of them train, and no validation loop runs.
        seed: Decides the folds, the validation rows and the order of the training rows.
        rare: What becomes of classes with too few rows to be in every fold: "error" refuses them,
            "drop" leaves out their rows, "merge" makes one class of them.
        noise: Standard deviation of Gaussian noise on the standardised features of training rows.

    Attributes:
        mean: After `setup`: each feature's mean over the training rows, (N,) float64.
        std: After `setup`: each feature's standard deviation over them, (N,) float64, or 1 where
            it is constant.
        description: The table's.

    Raises:
        UserError: If an argument is out of range, or a class has fewer rows than there are folds.
    """

    mean: Tensor
    std: Tensor
    _fills: np.ndarray  # what becomes of each feature's missing values, (N,)

    def __init__(
        self,
        source: str | Table,
        *,
        batch_size: int = 256,
        folds: int = 5,
        fold: int = 0,
        val_fraction: float = 0.2,
        seed: int = 0,
        rare: Rare = "error",
        noise: float = 0.0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, noise=noise)
        table = load_scikit(source) if isinstance(source, str) else source
        check_range("folds", folds, 2)
        check_range("val_fraction", val_fraction, 0.0, 1.0, below=True)
        # Two folds leave half of a class, of which one row is to train and one to validate.
        least = 4 if folds == 2 and val_fraction else folds
        if rare != "error":
            table = without_rare(table, least, rare)
        self.table = table
        self.n_features, self.n_classes = table.x.shape[1], len(table.class_names)
        self.feature_names, self.class_names = table.feature_names, table.class_names
        self.image_shape, self.pixel_range = table.image_shape, table.pixel_range
        self.keeps_missing = table.keep_missing
        self.description = table.description
        rows = np.bincount(table.y, minlength=self.n_classes)
        if rows.min() < folds:
            raise UserError(
                f"class {table.class_names[rows.argmin()]!r} has {rows.min()} row(s), fewer than "
                f"data.folds={folds}; {_remedy(table)}"
            )
        check_range("fold", fold, 0, folds - 1)
        self.folds, self.fold, self.val_fraction = folds, fold, val_fraction

    def describe_rows(self) -> Spec:
        """Return what a row of the table is."""
        table, place, columns = self.table, 0, []
        for column in table.columns:
            numeric = not column.categories
            gaps = table.fill_missing or np.isnan(table.x[:, place]).any()
            if numeric and gaps and not self.keeps_missing:
                column = replace(column, fill=float(self._fills[place]))
            columns.append(column)
            place += len(column.features)
        return replace(
            super().describe_rows(),
            columns=tuple(columns),
            label=table.label,
            ignored=table.ignored,
        )

    def rows(self) -> Split:
        """Return the table's rows in its own order and units.

        Raises:
            UserError: If values are missing.
        """
        missing = np.isnan(self.table.x).any(axis=0)
        self._refuse(missing, "missing in some rows; fill it in, or use data.missing=drop")
        return Split(torch.from_numpy(self.table.x), torch.from_numpy(self.table.y))

    def load(self) -> dict[SplitName, Split]:
        """Split, then standardise in float64 by the training rows, and serve float32."""
        rows = self._split_rows(self.table.y)
        x = self._without_gaps(rows["train"])
        mean, std = fit_scaling(x[rows["train"]])
        self._refuse(~np.isfinite(std), "too large to be squared; give it in another unit")
        self.mean, self.std = torch.from_numpy(mean), torch.from_numpy(std)
        spec = self.describe_rows()
        served = torch.from_numpy(spec.to_model_units(x, keep_missing=self.keeps_missing))
        y = torch.from_numpy(self.table.y)
        return {name: Split(served[index], y[index]) for name, index in rows.items()}

    def _without_gaps(self, train: np.ndarray) -> np.ndarray:
        """Return the features with the training rows' means in place of what is not kept so."""
        x = self.table.x
        missing = np.isnan(x)
        self._refuse(
            missing[train].all(axis=0),
            "missing in all training rows; leave it out by data.types={...: drop}",
        )
        if self.keeps_missing:
            return x
        with np.errstate(over="ignore", invalid="ignore"):  # `load` says so, by name
            self._fills = np.nanmean(x[train], axis=0)
        return np.where(missing, self._fills, x) if missing.any() else x

    def _refuse(self, features: np.ndarray, complaint: str) -> None:
        """Complain about the first of the features (N,) that are marked, if any."""
        if features.any():
            raise UserError(f"feature {self.feature_names[features.argmax()]!r} is {complaint}")

    def _split_rows(self, y: np.ndarray) -> dict[SplitName, np.ndarray]:
        """Choose the row numbers of each split from the labels (n,)."""
        from sklearn.model_selection import StratifiedKFold, train_test_split

        folds = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
        train, test = list(folds.split(y, y))[self.fold]
        val = train[:0]
        if self.val_fraction:
            held_out = math.ceil(self.val_fraction * len(train))
            if not self.n_classes <= held_out <= len(train) - self.n_classes:
                raise UserError(
                    f"data.val_fraction={self.val_fraction} divides {len(train)} rows into "
                    f"{len(train) - held_out} and {held_out}, too few for {self.n_classes} "
                    "classes on both sides; move it towards 0.5, or use 0 for no validation"
                )
            rows = np.bincount(y[train])
            if rows.min() < 2:
                raise UserError(
                    f"class {self.class_names[rows.argmin()]!r} has one row outside the test "
                    "fold, too few to train and validate; use data.val_fraction=0, or leave out "
                    "such classes by data.rare=drop"
                )
            train, val = train_test_split(
                train, test_size=held_out, stratify=y[train], random_state=self.seed
            )
            rows = np.bincount(y[train], minlength=self.n_classes)
            if not rows.all():
                raise UserError(
                    f"class {self.class_names[rows.argmin()]!r} has no row left to train on "
                    f"beside fold {self.fold} and data.val_fraction={self.val_fraction}; lower "
                    "data.val_fraction, or leave that class out of the table"
                )
        return {"train": train, "val": val, "test": test}
