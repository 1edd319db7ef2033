"""Fitted models as experiments, against scikit-learn."""

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.mixture import GaussianMixture

from ugmm.baselines import GMM
from ugmm.baselines.gaussian_classes import GaussianClasses
from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.loading import load_network

X, Y = load_iris(return_X_y=True)


def fitted(name, *overrides):
    config = compose(f"iris_{name}", overrides)
    network = config.task.network(config.model, 4, 3)
    network.init_from(torch.from_numpy(X), torch.from_numpy(Y))
    return network


def test_lda_is_scikit_learns():
    posterior = fitted("lda").posterior(torch.from_numpy(X)).numpy()
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(X, Y)
    np.testing.assert_allclose(posterior, theirs.predict_proba(X), atol=1e-8)


def test_qda_is_gaussian_classes():
    scores = fitted("qda").class_scores(torch.from_numpy(X)).numpy()
    for c in range(3):
        rows = X[c == Y]
        expected = multivariate_normal(rows.mean(0), np.cov(rows.T)).logpdf(X) + np.log(1 / 3)
        np.testing.assert_allclose(scores[:, c], expected, atol=1e-8)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_mixtures_are_those_of_scikit_learn(covariance):
    seed_everything(0, verbose=False)  # as a run does
    scores = fitted("gmm", f"model.covariance={covariance}").class_scores(torch.from_numpy(X))
    seed_everything(0, verbose=False)
    for c in range(3):
        theirs = GaussianMixture(2, covariance_type=covariance, reg_covar=1e-2)
        expected = theirs.fit(X[c == Y]).score_samples(X) + np.log(1 / 3)
        np.testing.assert_allclose(scores[:, c].numpy(), expected, atol=1e-8)


def test_em_starts_by_the_seed():
    def means(seed):
        seed_everything(seed, verbose=False)
        return fitted("gmm", "model.components=5").means

    torch.testing.assert_close(means(1), means(1), rtol=0, atol=0)
    assert not torch.allclose(means(1), means(2))


def test_a_run_repeats_its_fit(train):
    first, again = (
        load_network(train("iris_gmm", "trainer.max_epochs=1", "seed=1", f"name={name}").folder)
        for name in ("first", "again")
    )
    torch.testing.assert_close(first.means, again.means, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "free"),
    # means, covariances, weights of components, shares of classes
    [("lda", 12 + 10 + 2), ("qda", 12 + 30 + 2), ("gmm", 24 + 60 + 3 + 2)],
)
def test_parameters_are_counted(name, free):
    assert fitted(name).n_parameters() == free


def test_fewer_numbers_for_simpler_covariances():
    sizes = [GMM(2, c).free(4, 3) for c in ("full", "tied", "diag", "spherical")]
    assert sizes == [89, 59, 53, 35]


@pytest.mark.parametrize("name", ["lda", "qda", "gmm"])
def test_a_run_is_read_back(train_and_draw, name, capfd):
    run = train_and_draw(f"iris_{name}", "trainer.max_epochs=1", "seed=3")
    summary = run.read_summary()
    assert summary["test/accuracy"] > 0.85
    assert summary["test/log_prob"] > -5
    assert {"val/nll", "test/ece", "parameters", "seconds"} <= set(summary)
    assert main(["eval", str(run.folder)]) == 0
    assert f"{summary['test/accuracy']:.2%}" in capfd.readouterr().out
    network = load_network(run.folder)
    assert isinstance(network, GaussianClasses)
    assert network.predict(torch.zeros(2, 4)).shape == (2,)


@pytest.mark.parametrize(
    ("experiment", "setting", "line"),
    [
        ("iris_lda", "task=discriminative", "task=fitted goes with the models lda, qda and gmm"),
        ("iris_disc", "task=fitted", "task=fitted goes with the models lda, qda and gmm"),
        ("iris_gmm", "model.components=1000", "needs 1000; set fewer components"),
        ("iris_lda", "trainer.test_checkpoint=best", "set trainer.test_checkpoint=last"),
    ],
)
def test_what_does_not_go_together_is_one_line(train, experiment, setting, line):
    assert line in train(experiment, setting)
