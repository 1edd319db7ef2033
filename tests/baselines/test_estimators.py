"""The baselines' densities: against scipy, and by integration."""

import importlib.util

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.mixture import GaussianMixture

from ugmm.baselines import BASELINES
from ugmm.errors import UserError

needs_zuko = pytest.mark.skipif(
    importlib.util.find_spec("zuko") is None, reason="zuko is not installed"
)
FLOWS = [pytest.param(name, marks=needs_zuko) for name in ("maf", "nsf")]


@pytest.fixture(autouse=True)
def one_thread():
    """As in a cross-validation; on a busy machine, more wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def flowers():
    x, y = load_iris(return_X_y=True)
    keep = np.arange(150) % 7 > np.array([0, 1, 3])[y]  # classes of different size
    return ((x - x.mean(0)) / x.std(0))[keep], y[keep]


def expected(parts, y):
    return np.stack(parts, 1) + np.log(np.bincount(y) / len(y))


def test_lda_is_the_gaussian_of_scipy_and_scikit_learns_posterior(flowers):
    x, y = flowers
    joint = BASELINES["lda"]().fit(x, y, 3, 0)(x)
    groups = [x[y == c] for c in range(3)]
    pooled = sum((g - g.mean(0)).T @ (g - g.mean(0)) for g in groups) / len(x)
    parts = [multivariate_normal(g.mean(0), pooled).logpdf(x) for g in groups]
    np.testing.assert_allclose(joint, expected(parts, y), rtol=1e-9)
    for shrinkage in (0.0, 0.2):
        joint = BASELINES["lda"](shrinkage).fit(x, y, 3, 0)(x)
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, y)
        posterior = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        np.testing.assert_allclose(posterior, theirs.predict_proba(x), atol=1e-9)


@pytest.mark.parametrize("reg", [0.0, 0.1])
def test_qda_is_the_gaussian_of_scipy(flowers, reg):
    x, y = flowers
    joint = BASELINES["qda"](reg).fit(x, y, 3, 0)(x)
    parts = []
    for c in range(3):
        covariance = (1 - reg) * np.cov(x[y == c].T) + reg * np.eye(4)
        parts.append(multivariate_normal(x[y == c].mean(0), covariance).logpdf(x))
    np.testing.assert_allclose(joint, expected(parts, y), rtol=1e-9)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_gmm_is_the_mixture_that_its_parameters_say(flowers, covariance):
    x, y = flowers
    joint = BASELINES["gmm"](2, covariance).fit(x, y, 3, 0)(x)
    parts = []
    for c in range(3):
        gmm = GaussianMixture(2, covariance_type=covariance, reg_covar=1e-2, random_state=0)
        gmm.fit(x[y == c])
        of = {
            "full": lambda k, g=gmm: g.covariances_[k],
            "tied": lambda k, g=gmm: g.covariances_,
            "diag": lambda k, g=gmm: np.diag(g.covariances_[k]),
            "spherical": lambda k, g=gmm: g.covariances_[k] * np.eye(4),
        }[covariance]
        each = [multivariate_normal(gmm.means_[k], of(k)).logpdf(x) for k in range(2)]
        parts.append(logsumexp(np.stack(each, 1) + np.log(gmm.weights_), axis=1))
    np.testing.assert_allclose(joint, expected(parts, y), rtol=1e-7)


def test_kde_is_the_mean_of_kernels(flowers):
    x, y = flowers
    joint = BASELINES["kde"](0.4).fit(x, y, 3, 0)(x)
    parts = []
    for c in range(3):
        rows = x[y == c]
        kernels = norm(0, 0.4).logpdf(x[:, None] - rows[None]).sum(-1)
        parts.append(logsumexp(kernels, axis=1) - np.log(len(rows)))
    np.testing.assert_allclose(joint, expected(parts, y), rtol=1e-9)


@pytest.mark.parametrize("name", ["lda", "qda", "gmm", "kde", *FLOWS])
@pytest.mark.parametrize("features", [1, 2])
def test_densities_integrate_to_one(flowers, name, features):
    x, y = flowers
    options = {"steps": 60, "hidden": [16]} if name in ("maf", "nsf") else {}
    log_joint = BASELINES[name](**options).fit(x[:, :features], y, 3, 0)
    points, step = np.linspace(-10, 10, 161, retstep=True)
    axes = np.meshgrid(*[points] * features)
    grid = np.stack([axis.ravel() for axis in axes], 1)
    total = np.exp(log_joint(grid)).sum(0) * step**features
    # Each class integrates to its frequency, and so all of them to one.
    np.testing.assert_allclose(total, np.bincount(y) / len(y), rtol=3e-3)
    assert total.sum() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_learns_repeats_and_leaves_the_random_numbers_alone(flowers, name):
    import torch

    x, y = flowers
    torch.manual_seed(0)
    flow = BASELINES[name](steps=100)
    joint = flow.fit(x, y, 3, 0)(x)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == after
    assert np.array_equal(flow.fit(x, y, 3, 0)(x), joint)
    assert not np.array_equal(flow.fit(x, y, 3, 1)(x), joint)
    assert (joint.argmax(1) == y).mean() > 0.9
    assert joint.dtype == np.float64
    assert joint[np.arange(len(y)), y].mean() > -3  # a standard normal has -5.7 - log 3


@pytest.mark.parametrize("name", ["lda", "qda", "gmm", "kde", *FLOWS])
def test_scores_of_every_row_are_of_that_row_alone(flowers, name):
    x, y = flowers
    options = {"steps": 5} if name in ("maf", "nsf") else {}
    log_joint = BASELINES[name](**options).fit(x, y, 3, 0)
    np.testing.assert_allclose(log_joint(x)[40:43], log_joint(x[40:43]), rtol=1e-5)


def test_without_zuko_the_remedy_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs zuko; install it with: pip install zuko"):
        BASELINES["maf"]().check()


@pytest.mark.parametrize("name", ["lda", "qda", "gmm"])
def test_gaussian_classes_answer_what_they_are_asked(flowers, name):
    import torch

    from ugmm.baselines import GaussianClasses
    from ugmm.nn import Evidence, Queryable

    x, y = (torch.from_numpy(each) for each in flowers)
    model = GaussianClasses(4, 3, 1 + (name == "gmm"), BASELINES[name]().parts, free=0)
    model.init_from(x, y)
    assert isinstance(model, Queryable)
    g = torch.Generator().manual_seed(0)
    whole = model.marginal(Evidence(x, y=y), 1, g)
    torch.testing.assert_close(whole.log_prob, model(x, y))
    known = torch.tensor([True, False, True, True])
    rows, mask = x[:3], known.expand(3, 4)
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    points = rows.unsqueeze(1).repeat(1, len(grid), 1)
    points[:, :, 1] = grid
    expected = torch.trapezoid(model.class_scores(points).exp(), grid, dim=1).log()
    torch.testing.assert_close(model.marginal_class_scores(rows, mask), expected)
    found = model.marginal(Evidence(rows, mask), 1, g)
    torch.testing.assert_close(found.log_prob, expected.logsumexp(1))
    assert found.is_exact
    drawn = model.draw(Evidence(rows, mask), 20_000, g)
    p = model.log_prob(points).exp()
    mean = torch.trapezoid(p * grid, grid, dim=1) / torch.trapezoid(p, grid, dim=1)
    torch.testing.assert_close(drawn.x[:, :, 1].mean(1), mean, atol=0.03, rtol=0)
    drawn_x, drawn_y = model.sample(20_000, generator=g)
    torch.testing.assert_close(drawn_x.mean(0), x.mean(0), atol=0.05, rtol=0)
    frequency = torch.bincount(drawn_y, minlength=3) / 20_000
    torch.testing.assert_close(frequency.double(), model.log_prior.exp(), atol=0.02, rtol=0)
