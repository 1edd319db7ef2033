"""The data sets that an experiment can choose, like the rest of `ugmm.config.schema`."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ugmm.keys import key, options

if TYPE_CHECKING:
    from ugmm.data import InMemoryDataModule

__all__ = ["CSVConfig", "DataConfig", "MNISTConfig", "TabularConfig"]


@dataclass
class DataConfig:
    """A data set."""

    name: str = key()
    batch_size: int = key(256, low=1)  # rows in a step, over all devices together

    @property
    def has_validation(self) -> bool:
        """Whether there are rows to validate on."""
        return True

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        raise NotImplementedError


@dataclass
class TabularConfig(DataConfig):
    """A data set that comes with scikit-learn, by its name there."""

    folds: int = key(5, low=2)
    fold: int = key(0, low=0)
    val_fraction: float = key(0.2, low=0, below=1)

    @property
    def has_validation(self) -> bool:
        """Whether there are rows to validate on."""
        return self.val_fraction > 0

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        from ugmm.data import TabularDataModule

        return TabularDataModule(self.name, seed=seed, **options(self))


@dataclass
class CSVConfig(TabularConfig):
    """A table of one's own; see `ugmm.data.read_csv`."""

    name: str = "csv"
    path: str = ""  # required; frozen as an absolute path
    label: str | None = None  # the column of the classes
    types: dict[str, str] = key({})  # numeric, categorical or drop, where not to be inferred
    missing: Literal["refuse", "mean", "drop"] = "refuse"

    def __post_init__(self) -> None:
        if self.path:
            self.path = os.path.abspath(os.path.expanduser(self.path))

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        from ugmm.data import TabularDataModule, read_csv

        keywords = options(self)
        reading = {name: keywords.pop(name) for name in ("path", "label", "types", "missing")}
        return TabularDataModule(read_csv(**reading), seed=seed, **keywords)


@dataclass
class MNISTConfig(DataConfig):
    """Handwritten digits: 70,000 images of 28 x 28 pixels."""

    name: str = "mnist"
    val_size: int = key(5000, low=0, high=59999)
    max_shift: int = key(0, low=0, high=27)  # random translation of training images, in pixels
    binarize: int | None = key(None, low=0, high=2**31 - 1)  # the seed of black-or-white pixels
    robustness: bool = False  # test on digits turned or half hidden, and on clothes, too

    @property
    def has_validation(self) -> bool:
        """Whether there are rows to validate on."""
        return self.val_size > 0

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        from ugmm.data import MNISTDataModule

        return MNISTDataModule(seed=seed, **options(self))
