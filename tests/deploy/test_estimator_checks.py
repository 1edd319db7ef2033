"""scikit-learn's own checks of estimators, less those that docs/estimators.md declares."""

import re
from pathlib import Path

from sklearn.utils.estimator_checks import parametrize_with_checks

from ugmm.sklearn import UGMMClassifier, UGMMDensity, UGMMRegressor

PAGE = (Path(__file__).parents[2] / "docs/estimators.md").read_text(encoding="utf-8")
DECLARED = dict(re.findall(r"^\| `(check_\w+)` \| (.*) \|$", PAGE, re.MULTILINE))


@parametrize_with_checks(
    [
        UGMMClassifier(max_epochs=20),
        UGMMRegressor(max_epochs=20),
        UGMMDensity(max_epochs=3),
        UGMMDensity("circuit", max_epochs=3),
        UGMMDensity("tilted", max_epochs=3),
    ],
    expected_failed_checks=lambda _: DECLARED,
)
def test_scikit_learn_finds_nothing_to_complain_of(estimator, check):
    check(estimator)


def test_few_checks_are_declared():
    assert list(DECLARED) == ["check_methods_subset_invariance"]
