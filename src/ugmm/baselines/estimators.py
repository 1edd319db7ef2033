"""Generative classifiers to compare with: Gaussians, mixtures, kernels, normalising flows.

A baseline is a dataclass whose fields are its hyper-parameters. `fit` takes features (n, D) and
labels (n,), and returns log p(x, c) as a function: (m, D) to (m, C), float64, the class prior
included. Every class needs rows. Nothing here imports scikit-learn or torch before `fit`.
"""

from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np

__all__ = ["Baseline", "Estimator", "LogJoint", "log_prior"]

LogJoint = Callable[[np.ndarray], np.ndarray]


class Estimator(Protocol):
    """What can be cross-validated."""

    @property
    def normalized(self) -> bool:
        """Whether the fitted function is a log-density, or only ranks the classes."""

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """Return log p(x, c) of features (n, D) float64 and labels (n,) from 0 to C - 1."""


class Baseline:
    """What all baselines share."""

    normalized: ClassVar[bool] = True

    def check(self) -> None:
        """Raise UserError if a package is missing."""

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`."""
        raise NotImplementedError


def log_prior(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the logarithms of the classes' shares of labels (n,): (C,)."""
    return np.log(np.bincount(y, minlength=n_classes) / len(y))
