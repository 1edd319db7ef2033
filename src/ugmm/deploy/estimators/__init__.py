"""Networks of mixture neurons as estimators of scikit-learn; `ugmm.sklearn` is their face."""

from ugmm.deploy.estimators.classifier import UGMMClassifier
from ugmm.deploy.estimators.density import UGMMDensity
from ugmm.deploy.estimators.regressor import UGMMRegressor

__all__ = ["UGMMClassifier", "UGMMDensity", "UGMMRegressor"]
