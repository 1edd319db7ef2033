"""Networks of mixture neurons as estimators of scikit-learn.

::

    from ugmm.sklearn import UGMMClassifier

    classifier = UGMMClassifier(random_state=0).fit(X, y)

They are clones, parts of pipelines and of searches like any other. Features are standardised
inside, and NaN is a value that is not known, in training as in prediction.
"""

from ugmm.deploy.estimators import UGMMClassifier, UGMMDensity, UGMMRegressor

__all__ = ["UGMMClassifier", "UGMMDensity", "UGMMRegressor"]
