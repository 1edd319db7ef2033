"""Classifiers of scikit-learn that are no densities: they rank classes, and say how surely."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ugmm.baselines.estimators import Baseline, LogJoint
from ugmm.keys import key

__all__ = ["HistBoosting", "Logistic"]


@dataclass
class Logistic(Baseline):
    """Multinomial logistic regression, its weights held down by a squared penalty."""

    c: float = key(1.0, above=0, high=10**9)  # the inverse of the penalty's strength

    normalized: ClassVar[bool] = False

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:  # noqa: ARG002
        """See `Estimator.fit`; the function returned is log p(c | x) but for what is common."""
        from sklearn.linear_model import LogisticRegression

        return _class_scores(LogisticRegression(C=self.c, max_iter=1000).fit(x, y))


@dataclass
class HistBoosting(Baseline):
    """Gradient boosting of trees on binned features, which has a bin for what is missing."""

    lr: float = key(0.1, above=0, high=10**6)
    leaves: int = key(31, low=2, high=10**6)  # of each tree, at most
    steps: int = key(100, low=1, high=10**6)  # trees for each class

    normalized: ClassVar[bool] = False
    takes_missing: ClassVar[bool] = True

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:  # noqa: ARG002
        """See `Logistic.fit`."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        boosting = HistGradientBoostingClassifier(
            learning_rate=self.lr,
            max_leaf_nodes=self.leaves,
            max_iter=self.steps,
            early_stopping=False,
            random_state=seed,
        )
        return _class_scores(boosting.fit(x, y))


def _class_scores(fitted: Any) -> LogJoint:
    """Return log p(c | x) but for a number that a row's classes have in common, as a function."""

    def scores(x: np.ndarray) -> np.ndarray:
        found = fitted.decision_function(x)
        return found if found.ndim == 2 else np.stack([np.zeros(len(found)), found], axis=1)

    return scores
