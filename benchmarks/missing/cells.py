"""Classifiers of tables with gaps: trained with them, or after something has filled them.

    python benchmarks/missing/cells.py [--quick] [--write]

Cells go missing completely at random, in training rows and in test rows. A third of the rows, of
all classes, are tested on. A seed decides which these are, which cells are missing, and what else
is left to chance: all contenders of a seed see the same table. Each has one setting, its defaults.
"""

import argparse
import itertools
import warnings
from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

import numpy as np
from results import read_options, show, table
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ugmm.sklearn import UGMMClassifier

TABLES = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}
SHARES = (0.0, 0.2, 0.5)
SEEDS = (0, 1, 2, 3, 4)


def filled(imputer: Any, classifier: Any) -> Any:
    """A classifier of standardised rows whose gaps an imputer has filled."""
    return make_pipeline(StandardScaler(), imputer, classifier)


Maker = Callable[[int], Any]
AS_THEY_ARE: dict[str, Maker] = {
    "UGMMClassifier, gaps kept": lambda seed: UGMMClassifier(random_state=seed),
    "HistGradientBoosting, gaps kept": lambda seed: HistGradientBoostingClassifier(
        random_state=seed
    ),
}
FILLED: dict[str, Maker] = {
    "UGMMClassifier, nearest rows": lambda seed: filled(
        KNNImputer(), UGMMClassifier(random_state=seed)
    ),
    "UGMMClassifier, iterative": lambda seed: filled(
        IterativeImputer(random_state=seed), UGMMClassifier(random_state=seed)
    ),
    "LogisticRegression, nearest rows": lambda _: filled(KNNImputer(), LogisticRegression()),
    "LogisticRegression, iterative": lambda seed: filled(
        IterativeImputer(random_state=seed), LogisticRegression()
    ),
}
WHOLE: dict[str, Maker] = {
    "LogisticRegression": lambda _: make_pipeline(StandardScaler(), LogisticRegression()),
}


def judge(make: Maker, name: str, share: float, seed: int) -> tuple[float, float]:
    """Return a contender's accuracy on the test rows, and its log loss, in nats."""
    x, y = TABLES[name](return_X_y=True)
    x = np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)
    rows = train_test_split(x, y, test_size=1 / 3, random_state=seed, stratify=y)
    x_train, x_test, y_train, y_test = rows
    probabilities = make(seed).fit(x_train, y_train).predict_proba(x_test)
    right = accuracy_score(y_test, probabilities.argmax(1))
    return right, float(log_loss(y_test, probabilities))


def told(values: tuple[float, ...], digits: int) -> str:
    """Return the mean over seeds and its standard error."""
    error = stdev(values) / len(values) ** 0.5
    return f"{mean(values):.{digits}f} ± {error:.{digits}f}"


def main() -> None:
    """Fit all contenders to all tables, and tabulate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options = read_options(parser)
    # Of the ten rounds of IterativeImputer, which are its default and often too few for it.
    warnings.simplefilter("ignore", ConvergenceWarning)
    names, shares, seeds = (
        (("iris",), (0.0, 0.2), (0, 1)) if options.quick else (tuple(TABLES), SHARES, SEEDS)
    )
    rows = []
    for name, share in itertools.product(names, shares):
        for contender, make in {**AS_THEY_ARE, **(FILLED if share else WHOLE)}.items():
            found = [judge(make, name, share, seed) for seed in seeds]
            right, loss = zip(*found, strict=True)
            rows.append([name, f"{share:.0%}", contender, told(right, 3), told(loss, 3)])
            print(*rows[-1], sep="  ", flush=True)
    text = (
        f"Means over {len(seeds)} seeds and their standard errors, on test rows with as many "
        "cells missing. One setting was tried of each contender: its defaults, which for "
        "UGMMClassifier were chosen on these tables without gaps. Nearest rows: `KNNImputer`; "
        "iterative: `IterativeImputer`; both on standardised columns.\n\n"
        + table(["table", "missing", "classifier", "accuracy", "log loss, nats"], rows)
    )
    show("cells", "classifiers of tables with gaps", text, options.write)


if __name__ == "__main__":
    main()
