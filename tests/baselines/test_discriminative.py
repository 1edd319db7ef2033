"""Logistic regression and boosting: the class probabilities are scikit-learn's own."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from ugmm.baselines import BASELINES


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
@pytest.mark.parametrize(
    ("name", "settings", "direct"),
    [
        ("logistic", {"c": 0.3}, LogisticRegression(C=0.3, max_iter=1000)),
        (
            "hist_boosting",
            {"lr": 0.2, "leaves": 4, "steps": 5},
            HistGradientBoostingClassifier(
                learning_rate=0.2, max_leaf_nodes=4, max_iter=5, early_stopping=False
            ),
        ),
    ],
)
def test_differences_of_classes_are_those_of_scikit_learn(load, name, settings, direct):
    x, y = load(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    baseline = BASELINES[name](**settings)
    if baseline.takes_missing:
        x = np.where(np.random.default_rng(0).random(x.shape) < 0.2, np.nan, x)
    scores = baseline.fit(x[::2], y[::2], y.max() + 1, 0)(x[1::2])
    expected = np.log(direct.fit(x[::2], y[::2]).predict_proba(x[1::2]))
    found = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert not baseline.normalized
