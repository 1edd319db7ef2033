"""What the data modules share: checked splits in memory, and loaders that cut them."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Literal, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor

from ugmm.data.batches import (
    Augmentation,
    EvaluationBatches,
    GaussianNoise,
    TrainingBatches,
)
from ugmm.errors import UserError
from ugmm.spec import Column, Spec, Target

__all__ = ["InMemoryDataModule", "Split", "SplitName", "check_range"]

SplitName = Literal["train", "val", "test"]


class Split(NamedTuple):
    """Rows of a data set.

    Attributes:
        x: Features, (n, n_features), float32.
        y: Labels, (n,), int64, from 0 to n_classes - 1; or targets, (n,), float32.
    """

    x: Tensor
    y: Tensor


class InMemoryDataModule(lightning.LightningDataModule, ABC):
    """A data set that fits in memory: rows, and of each its class or a number, the target.

    A new data set states the attributes below and implements `load` (and `prepare_data`, if
    anything must be fetched). The attributes are known without `setup`, which networks and
    configs rely on; `splits` is filled by `setup`.

    Batches are (x, y): (B, n_features) float32 and (B,) int64, on the CPU; where there is a
    target, y is float32 and standardised by the training rows. An attached trainer says how many
    devices share a batch and which epoch it is; without one there is one device and the epoch is
    0.

    Args:
        batch_size: Rows of a batch, which all devices share.
        seed: Decides the order of the training rows, and whatever else a subclass leaves to
            chance.
        noise: Standard deviation of Gaussian noise on the features of training rows, drawn anew
            in each epoch, in the units in which they are served.

    Attributes:
        n_features: Number of features.
        n_classes: Number of classes; 0, and so left unsaid, where there is a target.
        class_names: One name a class.
        target: What the number is that is to be predicted, whose mean and deviation `setup` adds;
            None where there are classes.
        feature_names: One name a feature; empty where they have none.
        image_shape: Height and width if a row is an image, else None.
        pixel_range: Between which values an image's pixels lie, before any standardising.
        keeps_missing: Whether NaN in a feature stands for a value that is missing.
        mean: What `load` subtracted from each feature, (n_features,), or from all; None if
            nothing was scaled.
        std: What it divided them by afterwards.
        spec: What a row is, after `setup`: how a trained network reads the user's rows.
        augmentations: Random changes of training rows, one after the other.
        description: What is printed when training starts; "" for nothing.
        splits: Rows by split: "train", "val" (perhaps empty) and "test". `load` may leave out
            "val".

    Raises:
        UserError: If an argument is out of range.
    """

    n_features: int
    n_classes: int = 0
    class_names: tuple[str, ...] = ()
    target: Target | None = None
    feature_names: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    pixel_range: tuple[float, float] | None = (0.0, 1.0)
    keeps_missing: bool = False
    mean: Tensor | float | None = None
    std: Tensor | float | None = None
    spec: Spec
    description: str = ""

    def __init__(self, *, batch_size: int, seed: int, noise: float = 0.0) -> None:
        super().__init__()
        check_range("batch_size", batch_size, 1)
        check_range("seed", seed, 0, 2**32 - 1)
        check_range("noise", noise, 0)
        self.batch_size = batch_size
        self.seed = seed
        self.augmentations: list[Augmentation] = [GaussianNoise(noise)] if noise else []
        self.splits: dict[SplitName, Split] = {}

    @property
    def log_jacobian(self) -> float:
        """After `setup`: see `ugmm.spec.Spec`; where values are missing, a mean over test rows."""
        if self.keeps_missing:
            known = ~self.splits["test"].x.isnan()
            return float(self.spec.log_jacobians(known.numpy()).mean())
        return self.spec.log_jacobian

    @abstractmethod
    def load(self) -> dict[SplitName, Split]:
        """Read the data set and split it. Runs on every rank, after `prepare_data` on one.

        Targets are in the user's units, of any floating-point type.
        """

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002  Lightning's signature
        """Fill `splits` and `spec`, unless they are filled.

        Raises:
            UserError: If the data set cannot be read, or does not hold what it should.
        """
        if not self.splits:
            splits = self.load()
            train = splits["train"]
            splits.setdefault("val", Split(train.x[:0], train.y[:0]))
            if len(self.class_names) != self.n_classes:
                raise UserError(
                    f"{type(self).__name__} must state class_names, one for each of its "
                    f"{self.n_classes} classes"
                )
            for name, split in splits.items():
                self._check(name, split)
            if self.target is not None:
                splits = self._standardise(self.target, splits)
            self.spec = self.describe_rows()
            self.splits = splits

    def describe_rows(self) -> Spec:
        """Return what a row is, as the attributes say after `load`.

        A data set whose rows have categories, which they cannot say, overrides it.
        """
        return Spec(
            n_features=self.n_features,
            class_names=tuple(map(str, self.class_names)),
            columns=tuple(Column(str(name)) for name in self.feature_names),
            mean=_numbers(self.mean, self.n_features),
            std=_numbers(self.std, self.n_features),
            image_shape=self.image_shape,
            pixel_range=self.pixel_range if self.image_shape else None,
            keeps_missing=self.keeps_missing,
            target=self.target,
        )

    def _standardise(
        self, target: Target, splits: dict[SplitName, Split]
    ) -> dict[SplitName, Split]:
        """Note mean and deviation of the training rows' targets, and return all by these."""
        y = splits["train"].y.double()
        if y.min() == y.max():
            raise UserError(
                f"the target {target.name!r} is {float(y[0]):g} in all training rows: there is "
                "nothing to predict; name another column"
            )
        std, mean = torch.std_mean(y, correction=0)
        if not std.isfinite():
            raise UserError(
                f"the target {target.name!r} is too large to be squared; give it in another unit"
            )
        self.target = replace(target, mean=float(mean), std=float(std))
        return {
            name: Split(x, ((y.double() - mean) / std).float()) for name, (x, y) in splits.items()
        }

    def rows(self) -> Split:
        """Return all rows: features (n, n_features) float64, and labels or targets (n,).

        Their order is the same in every process. By default they are the splits', one after
        the other; a data set that can should return them in its own order and units.
        """
        self.prepare_data()
        self.setup()
        x, y = zip(*self.splits.values(), strict=True)
        return Split(torch.cat(x).double(), torch.cat(y))

    def row_numbers(self, split: SplitName) -> np.ndarray:
        """Return which rows of the user's data a split has, (n,) int64, in its order.

        By default they are counted from 0 in each split, as where each is a file of its own.
        """
        return np.arange(len(self.splits[split].x))

    def train_dataloader(self) -> TrainingBatches:
        """Full batches in an order given by the seed and the trainer's epoch."""
        rank, world_size = self._place()
        return TrainingBatches(
            *self.splits["train"],
            batch_size=self.batch_size,
            epoch=self._current_epoch,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            augmentations=self.augmentations,
        )

    def val_dataloader(self) -> EvaluationBatches | list[EvaluationBatches]:
        """All validation rows in order; if there are none, an empty list: no validation."""
        return self._evaluation_batches("val") if len(self.splits["val"].x) else []

    def test_dataloader(self) -> EvaluationBatches:
        """All test rows in order."""
        return self._evaluation_batches("test")

    def predict_dataloader(self) -> EvaluationBatches:
        """All test rows in order, as `test_dataloader` has them."""
        return self.test_dataloader()

    def _evaluation_batches(self, split: SplitName) -> EvaluationBatches:
        rank, world_size = self._place()
        return EvaluationBatches(
            *self.splits[split], batch_size=self.batch_size, rank=rank, world_size=world_size
        )

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _current_epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch

    def _check(self, name: str, split: Split) -> None:
        """Refuse what would only show as NaN, or as an index error, far inside training."""
        x, y = split
        if x.ndim != 2 or x.shape[1] != self.n_features or y.shape != x.shape[:1]:
            raise UserError(
                f"the {name} rows of {type(self).__name__} have features {tuple(x.shape)} and "
                f"labels {tuple(y.shape)}; make them (n, {self.n_features}) and (n,)"
            )
        if not len(x):
            return
        # The extremes are finite only if every value is, and cost no mask as large as x.
        if not all(extreme.isfinite() for extreme in torch.aminmax(x)):
            strange = (x.isinf() if self.keeps_missing else ~x.isfinite()).nonzero()
        else:
            strange = y[:0]
        if len(strange):
            row, column = strange[0].tolist()
            feature = self.feature_names[column] if self.feature_names else f"number {column}"
            raise UserError(
                f"the {name} rows of {type(self).__name__} hold a value that is not finite (row "
                f"{row}, feature {feature}); fill it in or leave the row out"
            )
        if self.target is not None:
            self._check_targets(name, y)
        elif y.min() < 0 or y.max() >= self.n_classes:
            wrong = y[(y < 0) | (y >= self.n_classes)][0].item()
            raise UserError(
                f"the {name} rows of {type(self).__name__} have the label {wrong}; labels must "
                f"be 0 to {self.n_classes - 1}"
            )

    def _check_targets(self, name: str, y: Tensor) -> None:
        strange = (~y.isfinite()).nonzero()
        if len(strange):
            row = int(strange[0])
            raise UserError(
                f"the {name} rows of {type(self).__name__} have the target {float(y[row])} in row "
                f"{row}; leave such rows out"
            )


def _numbers(values: Tensor | float | None, n_features: int) -> tuple[float, ...]:
    """Return one number a feature, where all may share one; none for None."""
    if values is None:
        return ()
    found = torch.as_tensor(values, dtype=torch.float64).flatten().tolist()
    return tuple(found * n_features if len(found) == 1 else found)


def check_range(
    key: str, value: float, low: float, high: float | None = None, *, below: bool = False
) -> None:
    """Check that low <= value <= high (or value < high, with `below`).

    Raises:
        UserError: If it is not; the line names the config key `data.<key>`.
    """
    if value >= low and (high is None or (value < high if below else value <= high)):
        return
    limits = f"at least {low}" if high is None else f"from {low} to {'below ' * below}{high}"
    raise UserError(f"data.{key}={value} is out of range; it must be {limits}")
