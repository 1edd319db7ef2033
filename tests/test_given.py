"""Rows of which something is known, in the user's units: asked of Gaussian classes, by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from ugmm.baselines import QDA, GaussianClasses
from ugmm.config.compose import compose
from ugmm.data import TabularDataModule
from ugmm.errors import UserError
from ugmm.nn import UGMMNetwork
from ugmm.spec import Column, Spec
from ugmm.trained import TrainedNetwork

NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
# Cells that are known of four flowers, and their species.
KNOWN = {
    "petal length": [1.4, 5.1, None, 4.5],
    "petal width": [0.2, "", None, 1.5],
    "sepal length": [None, 6.2, math.nan, 6.0],
    "target": [None, "", "setosa", "versicolor"],
}


@pytest.fixture(scope="module")
def data():
    module = TabularDataModule("iris", val_fraction=0)
    module.setup()
    return module


@pytest.fixture(scope="module")
def classes(data):
    """Each species' share, mean and covariance, in centimetres."""
    x = data.splits["train"].x.double().numpy() * data.std.numpy() + data.mean.numpy()
    y = data.splits["train"].y.numpy()
    return [(np.mean(y == c), x[y == c].mean(0), np.cov(x[y == c].T)) for c in range(3)]


@pytest.fixture(scope="module")
def network(data):
    qda = QDA()
    model = GaussianClasses(4, 3, 1, qda.parts, qda.free(4, 3))
    model.init_from(*data.splits["train"])
    return TrainedNetwork(model.eval(), data.spec, compose("iris_qda"))


@pytest.fixture(scope="module")
def given(network):
    return network.given(KNOWN)


def rows_by_hand():
    """Each flower's values, NaN where unknown, and its species or None."""
    for i in range(4):
        cells = [KNOWN.get(name, [None] * 4)[i] for name in NAMES]
        values = np.array([math.nan if cell in (None, "") else cell for cell in cells])
        yield values, {"setosa": 0, "versicolor": 1}.get(KNOWN["target"][i])


def joint(classes, values, c):
    """Return log p(what is known, c)."""
    share, mean, covariance = classes[c]
    known = ~np.isnan(values)
    if not known.any():
        return math.log(share)
    normal = multivariate_normal(mean[known], covariance[np.ix_(known, known)])
    return math.log(share) + normal.logpdf(values[known])


def test_marginals_are_in_the_users_units(given, classes):
    found = given.marginal()
    assert found.is_exact
    for row, (values, label) in enumerate(rows_by_hand()):
        of = range(3) if label is None else [label]
        wanted = np.logaddexp.reduce([joint(classes, values, c) for c in of])
        assert found.log_prob[row].item() == pytest.approx(wanted, abs=1e-4)


def test_posteriors_do_not_look_at_labels(given, classes):
    found = given.posterior()
    for row, (values, _) in enumerate(rows_by_hand()):
        wanted = np.array([joint(classes, values, c) for c in range(3)])
        wanted = np.exp(wanted - np.logaddexp.reduce(wanted))
        np.testing.assert_allclose(found.probs[row].numpy(), wanted, atol=1e-4)


def test_draws_keep_what_is_known(given, classes):
    drawn = given.sample(2000, seed=1)
    assert drawn.rows.shape == (4, 2000, 4)
    for row, (values, label) in enumerate(rows_by_hand()):
        known = ~np.isnan(values)
        wanted = np.tile(values[known], (2000, 1))
        np.testing.assert_allclose(drawn.rows[row][:, known], wanted, rtol=1e-5)
        if label is not None:
            assert set(drawn.labels[row]) == {["setosa", "versicolor"][label]}
    _, mean, covariance = classes[0]  # of the setosa of which nothing else is known
    error = np.sqrt(covariance.diagonal() / 2000)
    assert (np.abs(drawn.rows[2].mean(0) - mean) < 4 * error).all()


def test_the_conditional_of_a_column_is_in_its_units(network, classes):
    rows = {"petal length": [4.5, 1.5], "target": ["versicolor", "setosa"]}
    found = network.given(rows).conditional("petal width")
    for row, (length, c) in enumerate(((4.5, 1), (1.5, 0))):
        _, mean, s = classes[c]
        wanted = mean[3] + s[3, 2] / s[2, 2] * (length - mean[2])
        sd = math.sqrt(s[3, 3] - s[3, 2] ** 2 / s[2, 2])
        assert found.mean[row].item() == pytest.approx(wanted, abs=1e-3)
        assert found.variance[row].item() == pytest.approx(sd**2, rel=1e-2)
        assert found.quantile(0.5)[row].item() == pytest.approx(wanted, abs=1e-2)
        at = found.log_prob(torch.full((2,), wanted))[row].item()
        assert at == pytest.approx(-math.log(sd * math.sqrt(2 * math.pi)), abs=1e-2)


def test_the_conditional_of_columns_is_theirs_together(network, classes):
    found = network.given({"petal length": [4.5], "target": ["versicolor"]}).conditional(
        "petal width", "sepal length", n=20_000
    )
    _, mean, s = classes[1]
    of = [3, 0]
    slope = s[of, 2] / s[2, 2]
    wanted = mean[of] + slope * (4.5 - mean[2])
    covariance = s[np.ix_(of, of)] - np.outer(slope, slope) * s[2, 2]
    np.testing.assert_allclose(found.mean[0], wanted, atol=0.02)
    np.testing.assert_allclose(found.stddev[0] ** 2, covariance.diagonal(), rtol=0.05)
    at = wanted + 0.1
    log_p = multivariate_normal(wanted, covariance).logpdf(at)
    assert found.log_prob(torch.tensor(at)[None]).item() == pytest.approx(log_p, abs=1e-3)


def test_the_most_probable_completion_of_a_gaussian_is_its_conditional_mean(network, classes):
    rows = {"petal length": [4.5], "target": ["versicolor"]}
    found = network.given(rows).mpe()
    _, mean, s = classes[1]
    wanted = mean + s[:, 2] / s[2, 2] * (4.5 - mean[2])
    np.testing.assert_allclose(found.rows[0].astype(float), wanted, atol=1e-3)
    assert found.labels.tolist() == ["versicolor"]
    assert found.log_prob.item() == pytest.approx(joint(classes, wanted, 1), abs=1e-3)


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda n: n.given({"petal lenght": [1.0]}), "unknown column 'petal lenght'"),
        (lambda n: n.given({"target": ["rose"]}), "'rose' in row 0, which is no class"),
        (lambda n: n.given(KNOWN).conditional("petal length"), "known in row 0"),
        (lambda n: n.given(KNOWN).conditional("height"), "no column 'height'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(network, ask, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        ask(network)
    assert "\n" not in str(caught.value)


def test_a_classifier_answers_posteriors_only(data):
    torch.manual_seed(0)
    classifier = TrainedNetwork(
        UGMMNetwork([4, 8, 3]).eval(), data.spec, compose("iris_disc"), data.splits["train"].x
    )
    rows = classifier.given(KNOWN)
    assert rows.posterior().probs.shape == (4, 3)
    for ask in (rows.marginal, rows.mpe, lambda: rows.sample(3)):
        with pytest.raises(UserError, match="answers posteriors only"):
            ask()


def test_categories_are_completed_as_such(data):
    """A column of words is one choice of its words, though the network sees a number for each."""
    spec = Spec(
        3,
        ("a", "b"),
        columns=(Column("size"), Column("colour", ("red", "blue"))),
        label="kind",
        mean=(1.0, 0.5, 0.5),
        std=(2.0, 0.5, 0.5),
    )
    qda = QDA(reg=0.1)
    model = GaussianClasses(3, 2, 1, qda.parts, qda.free(3, 2))
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    colour = torch.where(torch.rand(40, generator=generator) < 0.9, y, 1 - y)
    one_hot = torch.nn.functional.one_hot(colour, 2) * 2.0 - 1
    size = torch.randn(40, 1, generator=generator) + y[:, None]
    model.init_from(torch.cat([size, one_hot], 1), y)
    network = TrainedNetwork(model.eval(), spec, compose("iris_qda"))
    found = network.given({"kind": ["a", "b"], "size": [0.0, 4.0]}).mpe()
    assert found.rows[:, 1].tolist() == ["red", "blue"]
    with pytest.raises(UserError, match="categorical"):
        network.given({"kind": ["a"]}).conditional("colour")
