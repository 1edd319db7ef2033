"""Data sets held in memory, as LightningDataModules, fetched once and verified."""

# First: lightning, which every module below imports, may not be importable without it.
from ugmm import _torchvision  # noqa: F401
from ugmm.data.csv_table import read_csv
from ugmm.data.iris import IrisDataModule
from ugmm.data.mnist import FashionMNISTDataModule, MNISTDataModule
from ugmm.data.module import InMemoryDataModule, Split
from ugmm.data.tabular import Table, TabularDataModule

__all__ = [
    "FashionMNISTDataModule",
    "InMemoryDataModule",
    "IrisDataModule",
    "MNISTDataModule",
    "Split",
    "Table",
    "TabularDataModule",
    "read_csv",
]
