"""What estimators have in common: they are fitted to NumPy arrays in a cross-validation.

A baseline is a dataclass whose fields are its hyper-parameters. `fit` takes features (n, D) and
labels (n,) and returns log p(x, c), the class prior included, as a function from (m, D) to (m, C),
float64. Every class needs rows. Baselines import scikit-learn and torch only in `fit`.
"""

from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np

__all__ = ["Baseline", "Estimator", "LogJoint", "log_prior"]

LogJoint = Callable[[np.ndarray], np.ndarray]


class Estimator(Protocol):
    """Anything that can be cross-validated."""

    @property
    def normalized(self) -> bool:
        """Whether the fitted function is a log-density, or does no more than rank the classes."""

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """Fit to data.

        Args:
            x: Features, (n, D), float64.
            y: Labels from 0 to C - 1, (n,).
            n_classes: C.
            seed: Seed of whatever is random in the fit.

        Returns:
            log p(x, c) as a function from (m, D) to (m, C).
        """


class Baseline:
    """The base of all baselines."""

    normalized: ClassVar[bool] = True
    takes_missing: ClassVar[bool] = False  # whether NaN may stand for a value that is missing

    def check(self) -> None:
        """Raise UserError if a package that the baseline needs is missing."""

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`."""
        raise NotImplementedError


def log_prior(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the logarithms of the classes' shares of labels (n,): (C,)."""
    return np.log(np.bincount(y, minlength=n_classes) / len(y))
