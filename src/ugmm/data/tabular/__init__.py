"""Tables of measurements: cross-validated in folds, and standardised."""

from ugmm.data.tabular.module import TabularDataModule
from ugmm.data.tabular.table import SCIKIT, Table, has_decimals, load_scikit

__all__ = ["SCIKIT", "Table", "TabularDataModule", "has_decimals", "load_scikit"]
