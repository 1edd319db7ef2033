"""The data module of a table: cross-validated in folds, and standardised."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ugmm.columns import fit_scaling
from ugmm.data.module import InMemoryDataModule, Split, SplitName, check_range
from ugmm.data.tabular.folds import Folds
from ugmm.data.tabular.table import Rare, Table, load_scikit, remedy, without_rare
from ugmm.errors import UserError
from ugmm.spec import Spec

__all__ = ["TabularDataModule"]


class TabularDataModule(InMemoryDataModule):
    """A table in folds, standardised by the training rows.

    The rows are dealt into `folds` folds, shuffled by the seed: `fold` is the test set, and of the
    rest `val_fraction` is held out for validation. Both are stratified where there are classes.
    The folds of one seed are disjoint and together are all rows. Values that are missing become
    the mean of the training rows' values, unless the table keeps them.

    Args:
        source: A name in `SCIKIT`, or a table such as `ugmm.data.read_csv` returns.
        batch_size: Rows of a batch; as many as the table has, or more, make each epoch one batch.
        folds: Number of folds, from 2 to as many as the smallest class has rows; of a table with
            a target, to half of its rows.
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
    _chosen: dict[SplitName, np.ndarray]  # the numbers of each split's rows
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
        self.keeps_missing, self.target = table.keep_missing, table.target
        self.description = table.description
        if table.target is None:
            self._check_classes(folds)
        check_range("fold", fold, 0, folds - 1)
        self.folds, self.fold, self.val_fraction = folds, fold, val_fraction

    def _check_classes(self, folds: int) -> None:
        """Refuse a class that would be missing in a fold."""
        table = self.table
        rows = np.bincount(table.y, minlength=self.n_classes)
        if rows.min() < folds:
            raise UserError(
                f"class {table.class_names[rows.argmin()]!r} has {rows.min()} row(s), fewer than "
                f"data.folds={folds}; {remedy(table)}"
            )

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
            merged=table.merged,
        )

    def rows(self) -> Split:
        """Return the table's rows in its own order and units; NaN where it keeps missing values.

        Raises:
            UserError: If values are missing in a table that does not keep them so.
        """
        missing = np.isnan(self.table.x).any(axis=0)
        self._refuse(
            missing & (not self.keeps_missing),
            "missing in some rows; fill it in, or use data.missing=drop",
        )
        return Split(torch.from_numpy(self.table.x), torch.from_numpy(self.table.y))

    def row_numbers(self, split: SplitName) -> np.ndarray:
        """Return the numbers that a split's rows have in the table's source, (n,) int64."""
        numbers, index = self.table.numbers, self._chosen[split]
        return index if numbers is None else numbers[index]

    def load(self) -> dict[SplitName, Split]:
        """Split, then standardise in float64 by the training rows, and serve float32."""
        rows = self._chosen = self._split_rows()
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

    def _split_rows(self) -> dict[SplitName, np.ndarray]:
        """Choose the row numbers of each split."""
        folds = Folds(self.folds, self.fold, self.val_fraction, self.seed)
        y = self.table.y
        classes = self.target is None
        return folds.split_classes(y, self.class_names) if classes else folds.split(len(y))
