"""Fisher's Iris flowers: 150 rows, 4 features, 3 classes, cross-validated."""

from ugmm.data.tabular import TabularDataModule

__all__ = ["IrisDataModule"]


class IrisDataModule(TabularDataModule):
    """`TabularDataModule("iris")`: 50 flowers of each species, measured in centimetres.

    Args:
        batch_size: Rows of a batch; 150 or more means that each epoch is one full batch.
        folds: Number of folds, 2 to 50.
        fold: Which of them is the test set, 0 to folds - 1.
        val_fraction: Fraction of the other rows held out for validation.
        seed: Decides the folds, the validation rows and the order of the training rows.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        batch_size: int = 256,
        folds: int = 5,
        fold: int = 0,
        val_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            "iris",
            batch_size=batch_size,
            folds=folds,
            fold=fold,
            val_fraction=val_fraction,
            seed=seed,
        )
