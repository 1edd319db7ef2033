"""Data sets held in memory, as LightningDataModules, fetched once and verified.

Each is loaded when it is first used: what reads files alone needs no lightning.
"""

from typing import TYPE_CHECKING

# First: lightning, which modules below import, may not be importable without it.
from ugmm import _torchvision  # noqa: F401
from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.data.csv_table import read_csv
    from ugmm.data.iris import IrisDataModule
    from ugmm.data.mnist import FashionMNISTDataModule, MNISTDataModule
    from ugmm.data.module import InMemoryDataModule, Split
    from ugmm.data.packaged import load_packaged
    from ugmm.data.tabular import Table, TabularDataModule

__all__ = [
    "FashionMNISTDataModule",
    "InMemoryDataModule",
    "IrisDataModule",
    "MNISTDataModule",
    "Split",
    "Table",
    "TabularDataModule",
    "load_packaged",
    "read_csv",
]

_HOME = {
    "FashionMNISTDataModule": "mnist",
    "InMemoryDataModule": "module",
    "IrisDataModule": "iris",
    "MNISTDataModule": "mnist",
    "Split": "module",
    "Table": "tabular",
    "TabularDataModule": "tabular",
    "load_packaged": "packaged",
    "read_csv": "csv_table",
}

__getattr__, __dir__ = load_on_use(__name__, _HOME)
