"""Fisher's Iris flowers: 150 rows, 4 features, 3 classes, cross-validated."""

import math

import numpy as np
import torch
from torch import Tensor

from ugmm.data.base import InMemoryDataModule, Split, SplitName, check_range
from ugmm.errors import UserError

__all__ = ["IrisDataModule"]

_ROWS_PER_CLASS = 50


class IrisDataModule(InMemoryDataModule):
    """Iris in stratified folds, standardised by the training rows; scikit-learn's copy of it.

    The rows are dealt into `folds` stratified folds, shuffled by the seed: `fold` is the test
    set, and of the rest a stratified `val_fraction` is held out for validation. The folds of
    one seed are disjoint and together are all 150 rows.

    Args:
        batch_size: Rows of a batch; 150 or more means that each epoch is one full batch.
        folds: Number of folds, 2 to 50.
        fold: Which of them is the test set, 0 to folds - 1.
        val_fraction: Fraction of the other rows held out for validation. With 0 there is no
            validation split: all of them train, and no validation loop runs.
        seed: Decides the folds, the validation rows and the order of the training rows.

    Attributes:
        mean: After `setup`: each feature's mean over the training rows, (4,) float64.
        std: After `setup`: each feature's standard deviation over them, (4,) float64; a row in
            centimetres is x * std + mean.

    Raises:
        UserError: If an argument is out of range.
    """

    n_features = 4
    n_classes = 3
    class_names = ("setosa", "versicolor", "virginica")
    feature_names = (
        "sepal length",
        "sepal width",
        "petal length",
        "petal width",
    )
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        batch_size: int = 32,
        folds: int = 5,
        fold: int = 0,
        val_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        check_range("folds", folds, 2, _ROWS_PER_CLASS)
        check_range("fold", fold, 0, folds - 1)
        check_range("val_fraction", val_fraction, 0.0, 1.0, below=True)
        self.folds, self.fold, self.val_fraction = folds, fold, val_fraction

    def rows(self) -> Split:
        """Return the flowers in scikit-learn's order, in centimetres, float64."""
        from sklearn.datasets import load_iris

        x, y = load_iris(return_X_y=True)
        return Split(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))

    def load(self) -> dict[SplitName, Split]:
        """Split, then standardise in float64 by the training rows, and serve float32."""
        from sklearn.datasets import load_iris  # a second to import, and MNIST has no use for it

        x, y = load_iris(return_X_y=True)
        rows = self._split_rows(y)
        mean, std = x[rows["train"]].mean(axis=0), x[rows["train"]].std(axis=0)
        self.mean, self.std = torch.from_numpy(mean), torch.from_numpy(std)
        x = torch.from_numpy(((x - mean) / std).astype(np.float32))
        y = torch.from_numpy(y.astype(np.int64))
        return {name: Split(x[index], y[index]) for name, index in rows.items()}

    def _split_rows(self, y: np.ndarray) -> dict[SplitName, np.ndarray]:
        """Choose the row numbers of each split from the labels (150,)."""
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
            train, val = train_test_split(
                train, test_size=held_out, stratify=y[train], random_state=self.seed
            )
        return {"train": train, "val": val, "test": test}
