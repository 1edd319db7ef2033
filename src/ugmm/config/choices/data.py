"""The data sets that an experiment can choose."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ugmm.config.choices.declare import Choice, choice
from ugmm.errors import UserError
from ugmm.keys import key

if TYPE_CHECKING:
    from ugmm.data import InMemoryDataModule

__all__ = [
    "CSVConfig",
    "DataConfig",
    "DiabetesConfig",
    "FashionMNISTConfig",
    "GreyImageConfig",
    "MNISTConfig",
    "PackagedConfig",
    "TabularConfig",
]


@dataclass
class DataConfig(Choice):
    """A data set."""

    group: ClassVar[str] = "data"

    # rows in a step, over all devices together
    batch_size: int = key(256, low=1, high=10**7)

    @property
    def has_validation(self) -> bool:
        """Whether there are rows to validate on."""
        return True

    @property
    def keeps_missing(self) -> bool:
        """Whether features may be NaN, where a value is missing."""
        return False

    @property
    def has_target(self) -> bool:
        """Whether rows have a number that is to be predicted, and no classes."""
        return False

    @property
    def holds_images(self) -> bool:
        """Whether rows are known to be images."""
        return False

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        return self.construct(seed=seed)


@choice("data", "iris", "wine", "breast_cancer", "digits", builds="ugmm.data:TabularDataModule")
class TabularConfig(DataConfig):
    """A data set that comes with scikit-learn, by its name there."""

    folds: int = key(5, low=2, high=10**6)
    fold: int = key(0, low=0, high=10**6)
    val_fraction: float = key(0.2, low=0, below=1)
    # standard deviation of Gaussian noise on standardised training features
    noise: float = key(0.0, low=0, high=1000)

    @property
    def holds_images(self) -> bool:
        """Whether rows are known to be images."""
        return self.name == "digits"

    @property
    def has_validation(self) -> bool:
        """Whether there are rows to validate on."""
        return self.val_fraction > 0

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        return self.construct(self.name, seed=seed)


@choice("data", "diabetes")
class DiabetesConfig(TabularConfig):
    """The progression of diabetes within a year, from ten measurements; of scikit-learn, too."""

    has_target = True


@choice("data", "abalone", "arrests", "penguins", "phishing", "segment", "weather")
class PackagedConfig(TabularConfig):
    """A table in a package that is fetched once; see `ugmm.data.load_packaged`."""

    # missing values are replaced by the training rows' mean, or their rows dropped, or they stay
    # missing
    missing: Literal["mean", "drop", "keep"] = key("mean", passed=False)

    @property
    def keeps_missing(self) -> bool:
        """Whether features may be NaN, where a value is missing."""
        return self.missing == "keep"

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        from ugmm.data import load_packaged

        return self.construct(load_packaged(self.name, self.missing), seed=seed)


@choice("data", "csv")
class CSVConfig(TabularConfig):
    """A table of one's own; see `ugmm.data.read_csv`."""

    path: str = key("", passed=False)  # required; frozen as an absolute path
    label: str | None = key(None, passed=False)  # the column of the classes
    # the column of the numbers that are to be predicted, in place of classes
    target: str | None = key(None, passed=False)
    # which columns are numeric, categorical or to drop, where that is not to be inferred
    types: dict[str, str] = key({}, passed=False)
    # missing values are refused, or replaced by the training rows' mean, or their rows dropped, or
    # they stay missing
    missing: Literal["refuse", "mean", "drop", "keep"] = key("refuse", passed=False)
    separator: str = key("auto", passed=False)  # auto, comma, semicolon, tab or pipe
    decimal: str = key("auto", passed=False)  # auto, point or comma
    encoding: str = key("auto", passed=False)  # such as utf-8, utf-16, cp1252
    rare: Literal["error", "drop", "merge"] = "error"  # classes too rare to be in every fold

    @property
    def keeps_missing(self) -> bool:
        """Whether features may be NaN, where a value is missing."""
        return self.missing == "keep"

    @property
    def has_target(self) -> bool:
        """Whether rows have a number that is to be predicted, and no classes."""
        return self.target is not None

    def check_with(self, config: Any) -> None:  # noqa: ARG002
        """Refuse a target beside classes."""
        if self.target is None:
            return
        if self.label is not None:
            raise UserError(
                f"data.label={self.label} with data.target={self.target}: rows have either "
                "classes or a number to predict; leave one of the two out"
            )
        if self.rare != "error":
            raise UserError(f"data.rare={self.rare} is of classes; leave it out with data.target")

    def __post_init__(self) -> None:
        if self.path:
            self.path = os.path.abspath(os.path.expanduser(self.path))

    def build(self, seed: int) -> "InMemoryDataModule":
        """Return the Lightning data module."""
        from ugmm.data import read_csv

        table = read_csv(
            self.path,
            self.label,
            target=self.target,
            types=self.types,
            missing=self.missing,
            separator=self.separator,
            decimal=self.decimal,
            encoding=self.encoding,
        )
        return self.construct(table, seed=seed)


@dataclass
class GreyImageConfig(DataConfig):
    """Grey images of 28 x 28 pixels in files like MNIST's."""

    val_size: int = key(5000, low=0, high=59999)
    train_size: int | None = key(None, low=1, high=60000)  # the first so many train; null: all
    max_shift: int = key(0, low=0, high=27)  # random translation of training images, in pixels
    binarize: int | None = key(None, low=0, high=2**31 - 1)  # the seed of black-or-white pixels
    noise: float = key(0.0, low=0, high=1000)  # deviation of Gaussian noise on training pixels

    @property
    def holds_images(self) -> bool:
        """Whether rows are known to be images."""
        return True

    @property
    def has_validation(self) -> bool:
        """Whether there are rows to validate on."""
        return self.val_size > 0

    def check_with(self, config: Any) -> None:
        """Refuse grey noise on pixels that are black or white."""
        super().check_with(config)
        if self.noise and self.binarize is not None:
            raise UserError("data.noise needs grey pixels; set data.binarize=null")


@choice("data", "fashion_mnist", builds="ugmm.data:FashionMNISTDataModule")
class FashionMNISTConfig(GreyImageConfig):
    """Clothes, shoes and bags: 70,000 images of 28 x 28 pixels."""


@choice("data", "mnist", builds="ugmm.data:MNISTDataModule")
class MNISTConfig(GreyImageConfig):
    """Handwritten digits: 70,000 images of 28 x 28 pixels."""

    robustness: bool = False  # test on digits turned or half hidden, and on clothes, too

    def check_with(self, config: Any) -> None:
        """Refuse tests of robustness where they say nothing."""
        super().check_with(config)
        if not self.robustness:
            return
        if not config.task.has_label:
            raise UserError(
                "data.robustness tests how classes are told apart: not with task.label=none"
            )
        if self.binarize is not None:
            raise UserError("data.robustness needs grey pixels; set data.binarize=null")
