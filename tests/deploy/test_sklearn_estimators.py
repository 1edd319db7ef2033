"""What estimators answer, against what is known otherwise."""

import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import warnings
from dataclasses import asdict

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ugmm.config.frozen import from_yaml, to_yaml
from ugmm.sklearn import UGMMClassifier, UGMMDensity, UGMMRegressor
from ugmm.trained import TrainedNetwork, TrainedRegressor

X, Y = load_iris(return_X_y=True)
TRAIN, TEST = train_test_split(np.arange(150), random_state=0, stratify=Y)
SPECIES = load_iris().target_names[Y]


@pytest.fixture(scope="module")
def iris():
    return UGMMClassifier(random_state=0).fit(X[TRAIN], SPECIES[TRAIN])


def with_gaps(x, share, seed=0):
    x = x.copy()
    x[np.random.default_rng(seed).random(x.shape) < share] = np.nan
    return x


def test_a_classifier_tells_species_apart(iris):
    assert iris.score(X[TEST], SPECIES[TEST]) > 0.9
    assert iris.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    probabilities = iris.predict_proba(X[TEST])
    posterior = iris.trained_.posterior(X[TEST])
    np.testing.assert_allclose(probabilities, posterior.numpy(), atol=1e-6)
    np.testing.assert_allclose(iris.predict_log_proba(X[TEST]), np.log(probabilities))
    assert iris.n_iter_ == 100


@pytest.mark.parametrize("labels", [Y > 0, Y * 10 - 5, Y.astype(float), SPECIES.astype(object)])
def test_classes_are_of_any_type(labels):
    classifier = UGMMClassifier(max_epochs=30, random_state=0).fit(X, labels)
    assert classifier.classes_.dtype == labels.dtype
    assert (classifier.predict(X) == labels).mean() > 0.6


def test_the_same_seed_gives_the_same_numbers_and_others_are_left_alone():
    def states():
        numpy = np.random.get_state()  # noqa: NPY002
        return (random.getstate(), numpy[1].tolist(), torch.get_rng_state().tolist(),
                torch.get_num_threads(), dict(os.environ), list(warnings.filters))  # fmt: skip

    torch.set_num_threads(2)
    before = states()
    one, two, other = (
        UGMMClassifier(max_epochs=5, random_state=seed, dropout=0.5, noise=0.1)
        .fit(X, Y)
        .predict_proba(X)
        for seed in (3, 3, 4)
    )
    assert states() == before
    torch.set_num_threads(1)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_it_prints_and_writes_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    UGMMClassifier(max_epochs=3, early_stopping=True).fit(X, Y).predict(X)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_values_may_be_missing():
    gappy = with_gaps(X, 0.3)
    classifier = UGMMClassifier(random_state=0).fit(gappy[TRAIN], Y[TRAIN])
    assert classifier.score(gappy[TEST], Y[TEST]) > 0.75
    assert classifier.score(X[TEST], Y[TEST]) > 0.9
    nothing = classifier.predict_proba(np.full((1, 4), np.nan))
    np.testing.assert_allclose(nothing[0], np.bincount(Y[TRAIN]) / len(TRAIN), rtol=1e-5)


def test_input_dropout_is_chosen_by_what_is_missing():
    rates = [
        UGMMClassifier(input_dropout=rate, max_epochs=1).fit(x, Y).trained_.config.model
        for rate, x in (("auto", X), ("auto", with_gaps(X, 0.1)), (0.4, X))
    ]
    assert [model.input_dropout for model in rates] == [0, 0.2, 0.4]


def test_a_column_must_have_a_value():
    empty = X.copy()
    empty[:, 2] = np.nan
    with pytest.raises(
        ValueError, match="column '2' has no value in any row to train on; leave it out"
    ):
        UGMMClassifier().fit(empty, Y)


def test_values_may_be_too_large():
    with pytest.raises(ValueError, match="column '1' has values too large to be squared"):
        UGMMClassifier().fit(X * [1, 1e200, 1, 1], Y)


def test_balanced_classes_weigh_as_their_numbers_do():
    some = np.r_[0:50, 50:60, 100:130]
    rows = np.bincount(Y[some])
    weights = dict(enumerate(len(some) / (3 * rows)))
    balanced, same, plain = (
        UGMMClassifier(max_epochs=5, random_state=0, class_weight=weight)
        .fit(X[some], Y[some])
        .predict_proba(X)
        for weight in ("balanced", weights, None)
    )
    np.testing.assert_allclose(balanced, same, rtol=1e-5)
    assert np.abs(balanced - plain).max() > 0.01


def test_early_stopping_ends_before_the_last_epoch():
    stopped = UGMMClassifier(
        early_stopping=True, n_iter_no_change=2, learning_rate=0.1, random_state=0
    ).fit(X, Y)
    assert stopped.n_iter_ < 100
    assert stopped.score(X, Y) > 0.9


@pytest.mark.parametrize("head", ["gaussian", "heteroscedastic", "mixture", "quantiles"])
def test_a_regressor_predicts_a_distribution(head):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (400, 1))
    y = 1000 + 100 * (x[:, 0] + 0.5 * rng.normal(size=400))
    regressor = UGMMRegressor(head=head, noise=0, max_epochs=60, random_state=0).fit(x, y)
    mean, std = regressor.predict(x, return_std=True)
    np.testing.assert_array_equal(mean, regressor.predict(x))
    assert np.abs(mean - 1000 - 100 * x[:, 0]).mean() < 20
    assert 40 < np.median(std) < 60
    low, high = regressor.predict_interval(x, 0.8).T
    assert 0.7 < ((low < y) & (y < high)).mean() < 0.9
    np.testing.assert_allclose(regressor.predict_quantile(x, 0.1), low, rtol=1e-5)
    assert (regressor.predict_quantile(x) < high).all()


def test_a_regressor_takes_gaps():
    x, y = load_diabetes(return_X_y=True)
    gappy = with_gaps(x, 0.2)
    linear = make_pipeline(SimpleImputer(), LinearRegression())
    ours, theirs = (
        cross_val_score(model, gappy, y).mean()
        for model in (UGMMRegressor(random_state=0, max_epochs=20), linear)
    )
    assert ours > theirs - 0.1


@pytest.mark.parametrize("kind", ["autoregressive", "circuit", "tilted"])
def test_a_density_is_one_in_the_users_units(kind):
    rng = np.random.default_rng(0)
    x = 5000 + 1000 * rng.normal(size=(300, 1))
    density = UGMMDensity(kind, max_epochs=40, random_state=0).fit(x)
    grid = np.linspace(-5000, 15000, 4001)[:, None]
    assert abs(np.exp(density.score_samples(grid)).sum() * 5 - 1) < 0.02
    true = -0.5 * ((x[:, 0] - 5000) / 1000) ** 2 - np.log(1000 * np.sqrt(2 * np.pi))
    assert abs(density.score(x) - true.mean()) < 0.1
    drawn = density.sample(2000, random_state=1)
    assert drawn.shape == (2000, 1)
    assert abs(drawn.mean() - 5000) < 150
    assert abs(drawn.std() / 1000 - 1) < 0.2
    np.testing.assert_array_equal(drawn, density.sample(2000, random_state=1))


@pytest.mark.parametrize("kind", ["circuit", "tilted"])
def test_what_is_not_known_is_integrated_out(kind):
    density = UGMMDensity(kind, max_epochs=20, random_state=0).fit(X[:, :2])
    grid = np.linspace(-2, 12, 1401)
    whole = density.score_samples(np.c_[np.full(1401, 5.5), grid])
    (known,) = density.score_samples([[5.5, np.nan]])
    assert abs(np.exp(whole).sum() * 0.01 / np.exp(known) - 1) < 0.05


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (UGMMClassifier(max_epochs=1), TrainedNetwork),
        (UGMMRegressor(max_epochs=1), TrainedRegressor),
        (UGMMDensity(max_epochs=1), TrainedNetwork),
    ],
    ids=lambda one: type(one).__name__,
)
def test_inside_is_a_trained_network(estimator, kind):
    trained = estimator.fit(X, Y).trained_
    assert isinstance(trained, kind)
    assert trained.spec.n_features == 4
    assert asdict(from_yaml(to_yaml(trained.config), "it")) == asdict(trained.config)


def test_a_pickle_predicts_without_what_trains(iris, tmp_path):
    path = tmp_path / "iris.pickle"
    path.write_bytes(pickle.dumps(iris))
    assert path.stat().st_size < 50_000
    code = (
        "import pickle, sys, numpy; "
        f"iris = pickle.load(open({str(path)!r}, 'rb')); "
        f"print(*iris.predict(numpy.array({X[TEST].tolist()}))); "
        "print(*{'lightning', 'wandb', 'omegaconf', 'torchmetrics'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    predicted, loaded = done.stdout.split("\n")[:2]
    assert predicted.split() == iris.predict(X[TEST]).tolist()
    assert loaded == ""


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_a_search_runs_in_parallel(backend):
    import joblib

    pipeline = make_pipeline(StandardScaler(), UGMMClassifier(max_epochs=5, random_state=0))
    grid = {"ugmmclassifier__hidden_layer_sizes": [(4,), (16, 8)]}
    serial = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
    with joblib.parallel_config(backend):
        parallel = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X, Y)
    scores = [search.cv_results_["mean_test_score"].tolist() for search in (serial, parallel)]
    assert scores[0] == scores[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_was_forked_does_not_wait_for_threads():
    x = np.random.default_rng(0).normal(size=(4000, 40))  # torch copies it with several threads

    def fit():
        UGMMClassifier(max_epochs=1).fit(x, x[:, 0] > 0).predict(x)

    torch.set_num_threads(2)
    try:
        fit()
        child = multiprocessing.get_context("fork").Process(target=fit)
        child.start()
        child.join(60)
        child.kill()
    finally:
        torch.set_num_threads(1)
    assert child.exitcode == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes must be whole numbers from 1 up"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"early_stopping": "never"}, "The 'early_stopping' parameter"),
        ({"learning_rate": 1e30, "max_epochs": 3}, "training diverged; set a lower learning_rate"),
    ],
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        UGMMClassifier(**wrong).fit(X, Y)


def test_a_clone_has_the_parameters_and_nothing_else(iris):
    copy = clone(iris).set_params(hidden_layer_sizes=(8,))
    assert copy.get_params() == {**iris.get_params(), "hidden_layer_sizes": (8,)}
    assert not hasattr(copy, "trained_")
    assert repr(copy) == "UGMMClassifier(hidden_layer_sizes=(8,), random_state=0)"
    assert "UGMMClassifier" in iris._repr_html_()
