"""Gaussians against SciPy, shrinkage against leaving each row out."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf

from ugmm.density import Gaussian, GaussianMixture, VicinalNoise, covariance, silverman_width


def rows(n, d, seed=0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + 2)


def left_out(x, rho):
    """The covariance at one intensity, and the log-density of rows under that of the others."""

    def cov(rows):
        return np.atleast_2d(np.cov(rows.T, bias=True))

    def shrunk(rows):
        eye = np.eye(x.shape[1])
        return (1 - rho) * cov(rows) + (rho * target + 1e-4) * eye

    target = cov(x).trace() / x.shape[1]
    others = [np.delete(x, i, 0) for i in range(len(x))]
    laws = [stats.multivariate_normal(rows.mean(0), shrunk(rows)) for rows in others]
    return shrunk(x), sum(law.logpdf(row) for law, row in zip(laws, x, strict=True))


@pytest.mark.parametrize(("n", "d"), [(10, 3), (40, 4), (150, 4), (20, 30), (100, 2), (7, 1)])
def test_covariance_is_shrunk_as_rows_left_out_like_best(n, d):
    x = rows(n, d)
    intensities = [0, *np.logspace(-4, 0, 25)]
    matrices, scores = zip(*(left_out(x.numpy(), rho) for rho in intensities), strict=True)
    np.testing.assert_allclose(covariance(x), matrices[np.argmax(scores)], rtol=1e-7, atol=1e-9)


def test_covariance_keeps_a_narrow_direction():
    x = rows(60, 4) * torch.tensor([1.0, 1.0, 1.0, 0.05]).double()
    narrow = np.linalg.eigvalsh(np.cov(x.T.numpy(), bias=True))[0]
    assert np.linalg.eigvalsh(covariance(x))[0] < 1.5 * narrow
    assert np.linalg.eigvalsh(ledoit_wolf(x.numpy())[0])[0] > 3 * narrow


def test_covariance_with_an_outlier_is_finite():
    x = rows(40, 3)
    x[0, 0] = 1e6
    assert covariance(x).isfinite().all()


@pytest.mark.parametrize("x", [torch.ones(5, 3), torch.zeros(1, 3), rows(4, 1).repeat(3, 3)])
def test_covariance_of_degenerate_rows_is_positive_definite(x):
    assert np.linalg.eigvalsh(covariance(x).numpy()).min() > 9e-5


def test_gaussian_agrees_with_scipy():
    x = rows(60, 3)
    gaussian = Gaussian(3)
    gaussian.fit(x, inflation=1.7)
    law = stats.multivariate_normal(x.numpy().mean(0), 1.7 * covariance(x).numpy())
    points = rows(9, 3, seed=1).reshape(3, 3, 3)
    np.testing.assert_allclose(gaussian.log_prob(points), law.logpdf(points.numpy()), rtol=1e-9)
    np.testing.assert_allclose(gaussian.colour(gaussian.whiten(points)), points, rtol=1e-9)


@pytest.fixture
def proposal():
    x, y = rows(90, 2), torch.arange(90) % 3
    base = Gaussian(2)
    base.fit(x, 1.2)
    mixture = GaussianMixture(base, 3)
    mixture.fit(x + 5 * y[:, None], y)
    return base, mixture


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_of_no_class_is_not_left_out_of_the_fit(label):
    rows, y = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 0, label])
    with pytest.raises(IndexError, match=f"a label is {label}, and it must be 0 to 1"):
        GaussianMixture(Gaussian(2), 2).fit(rows, y)


def test_the_proposal_is_half_the_base(proposal):
    base, mixture = proposal
    x = 6 * torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = [
        stats.multivariate_normal(part.mean.numpy(), (part.tril @ part.tril.T).numpy()).pdf(x)
        for part in mixture.parts
    ]
    expected = np.log(0.5 * parts[0] + (parts[1] + parts[2] + parts[3]) / 6)
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol=1e-9)
    assert (base.log_prob(x) - mixture.log_prob(x)).max() <= np.log(2) + 1e-12


def test_draws_of_the_proposal_have_its_moments(proposal):
    _, mixture = proposal
    draws = mixture.sample(200_000, torch.Generator().manual_seed(0)).numpy()
    shares = mixture.shares.numpy()
    means = np.stack([part.mean.numpy() for part in mixture.parts])
    second = sum(
        s * ((p.tril @ p.tril.T).numpy() + np.outer(m, m))
        for s, p, m in zip(shares, mixture.parts, means, strict=True)
    )
    np.testing.assert_allclose(draws.mean(0), shares @ means, atol=0.05)
    np.testing.assert_allclose(draws.T @ draws / len(draws), second, rtol=0.02)


def test_silverman_width():
    assert silverman_width(40, 4) == pytest.approx(0.5994, abs=1e-4)
    assert silverman_width(120, 4) == pytest.approx(0.522, abs=1e-3)
    assert silverman_width(100, 1) == pytest.approx((4 / 3 / 100) ** 0.2)


def test_vicinal_noise_has_the_shape_of_the_classes():
    x, y = rows(60, 2).float(), torch.arange(60) % 2
    noise = VicinalNoise(2, 0.5)
    noise.fit(x + 100 * y[:, None], y)  # where the classes are does not matter
    torch.manual_seed(0)
    draws = (noise(torch.zeros(100_000, 2))).double().numpy()
    within = covariance(torch.cat([x[y == c] - x[y == c].mean(0) for c in (0, 1)])).numpy()
    np.testing.assert_allclose(draws.T @ draws / len(draws), 0.25 * within, rtol=0.03)


def test_covariance_is_computed_where_the_rows_are():
    matrix = covariance(torch.empty(20, 3, device="meta"))
    assert matrix.is_meta
    assert matrix.shape == (3, 3)
