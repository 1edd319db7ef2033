"""Kernel density estimates."""

from dataclasses import dataclass

import numpy as np

from ugmm.baselines.estimators import Baseline, LogJoint, log_prior
from ugmm.keys import key

__all__ = ["KDE"]


@dataclass
class KDE(Baseline):
    """A Gaussian kernel on every row, with one bandwidth for all features."""

    bandwidth: float = key(0.3, above=0, high=1000)

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:  # noqa: ARG002
        """See `Estimator.fit`."""
        from sklearn.neighbors import KernelDensity

        parts = [
            KernelDensity(bandwidth=self.bandwidth).fit(x[y == c]).score_samples
            for c in range(n_classes)
        ]
        prior = log_prior(y, n_classes)
        return lambda x: np.stack([part(x) for part in parts], axis=1) + prior
