"""scikit-learn's own checks of estimators."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from ugmm.sklearn import UGMMClassifier, UGMMDensity, UGMMRegressor

# Declared in docs/estimators.md, which a test compares with this.
ROUNDING = {
    "check_methods_subset_invariance": "networks compute in single precision: with the number of "
    "rows asked about at once, the last digit of a row's answer changes (checked to 1e-7)"
}


@parametrize_with_checks(
    [
        UGMMClassifier(max_epochs=20),
        UGMMRegressor(max_epochs=20),
        UGMMDensity(max_epochs=3),
        UGMMDensity("circuit", max_epochs=3),
        UGMMDensity("tilted", max_epochs=3),
    ],
    expected_failed_checks=lambda _: ROUNDING,
)
def test_scikit_learn_finds_nothing_to_complain_of(estimator, check):
    check(estimator)
