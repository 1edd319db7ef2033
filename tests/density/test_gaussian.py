"""Gaussians against SciPy, shrinkage against scikit-learn."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf

from ugmm.density import Gaussian, GaussianMixture, VicinalNoise, covariance, silverman_width


def rows(n, d, seed=0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + 2)


@pytest.mark.parametrize(("n", "d"), [(10, 3), (40, 4), (150, 4), (20, 50), (500, 2), (7, 1)])
def test_covariance_is_shrunk_as_scikit_learn_shrinks(n, d):
    x = rows(n, d)
    expected, _ = ledoit_wolf(x.numpy())
    np.testing.assert_allclose(covariance(x), expected + 1e-3 * np.eye(d), rtol=1e-9)


@pytest.mark.parametrize("x", [torch.ones(5, 3), torch.zeros(1, 3), rows(4, 1).repeat(3, 3)])
def test_covariance_of_degenerate_rows_is_positive_definite(x):
    assert np.linalg.eigvalsh(covariance(x).numpy()).min() > 9e-4


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
    within = (covariance(x[y == 0]) + covariance(x[y == 1])).numpy() / 2
    np.testing.assert_allclose(draws.T @ draws / len(draws), 0.25 * within, rtol=0.03)
