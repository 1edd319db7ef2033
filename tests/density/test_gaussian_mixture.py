"""Networks of one layer as the mixtures they are, and what mixtures answer, against SciPy."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from tilted_cases import make_tilted

from ugmm.density import ClassMixture, by_importance
from ugmm.nn import Evidence

CASES = [(1, 1, "none"), (1, 3, "onehot"), (4, 2, "real"), (6, 3, "onehot"), (30, 3, "onehot")]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shallow(d, c, label):
    density, x, y = make_tilted(d, c, label, hidden=())
    with torch.no_grad():
        density.score.network.layers[0].logits.normal_()
    return density, x, torch.zeros_like(y) if label == "none" else y


@pytest.mark.parametrize(("d", "c", "label"), CASES)
def test_a_network_of_one_layer_is_a_mixture(d, c, label):
    density, x, y = shallow(d, c, label)
    estimate = density.normalize()
    assert (estimate.error, density.log_z_error.item()) == (0, 0)
    found = by_importance(density.log_weight, density.proposal, 2**14)
    assert abs(found.value - estimate.value) < 4 * found.error + 1e-5
    mixture = density.mixture()
    assert mixture.log_weights.exp().sum().item() == pytest.approx(1)
    expected = density.class_scores(x).detach().double()
    torch.testing.assert_close(mixture.class_scores(Evidence(x)), expected, rtol=1e-5, atol=2e-5)
    exact = density.marginal(Evidence(x, y=y), 1, generator())
    assert exact.is_exact
    torch.testing.assert_close(exact.log_prob, density(x, y).double(), rtol=1e-5, atol=2e-5)


def test_deeper_and_wider_networks_and_those_with_a_gain_are_none():
    assert make_tilted(2)[0].mixture() is None
    assert make_tilted(300, hidden=())[0].mixture() is None
    assert make_tilted(2, hidden=(), head="gain")[0].mixture() is None
    assert make_tilted(2, hidden=(4,), head="linear")[0].mixture() is None


def test_estimates_of_a_mixture_are_right():
    density, x, _ = shallow(6, 3, "onehot")
    density.normalize()
    evidence = Evidence(x[:20], torch.rand(20, 6, generator=generator()) < 0.5)
    exact = density.marginal(evidence, 1, generator())
    found = density.estimate(evidence, 2048, generator())
    off = (found.log_prob - exact.log_prob) / found.error.clamp(min=1e-6)
    assert off.square().mean().sqrt() < 1.5
    mean, covariance = density.mixture().conditional_moments(evidence)
    drawn = density.weigh(evidence, 2048, generator())
    w, values = drawn.log_weight.exp().unsqueeze(2), drawn.x.double()
    means = (w * values).sum(1)
    error = (w * (values - means.unsqueeze(1))).square().sum(1).sqrt()
    off = ((means - mean) / error)[~evidence.known]
    assert 0.7 < off.square().mean().sqrt() < 1.4
    assert (covariance.diagonal(dim1=1, dim2=2) == 0).equal(evidence.known)


@pytest.fixture
def mixture():
    g = generator(1)
    matrices = torch.randn(4, 3, 3, generator=g, dtype=torch.float64)
    trils = torch.linalg.cholesky(matrices @ matrices.mT + 0.1 * torch.eye(3))
    weights = torch.rand(2, 4, generator=g, dtype=torch.float64)
    weights[0, 1] = 0
    return ClassMixture((weights / weights.sum()).log(), 2 * matrices[:, 0], trils)


MASKS = torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]).bool()


@pytest.fixture
def evidence():
    x = torch.randn(5, 3, generator=generator(2), dtype=torch.float64)
    return Evidence(x, MASKS, torch.tensor([-1, 0, 1, -1, 1]))


def by_scipy(mixture, row, known, y):
    """Log p of a row's evidence."""
    logs = []
    for k, (mean, tril) in enumerate(zip(mixture.means.numpy(), mixture.trils, strict=True)):
        covariance = (tril @ tril.T).numpy()[np.ix_(known, known)]
        density = (
            multivariate_normal(mean[known], covariance).logpdf(row[known]) if any(known) else 0
        )
        weights = mixture.log_weights[:, k] if y < 0 else mixture.log_weights[y : y + 1, k]
        logs.append(density + weights.numpy())
    return logsumexp(np.concatenate(logs))


def test_marginals_are_scipys(mixture, evidence):
    found = mixture.marginal(evidence)
    rows = zip(evidence.x.numpy(), MASKS.numpy(), evidence.y.tolist(), strict=True)
    expected = [by_scipy(mixture, *row) for row in rows]
    np.testing.assert_allclose(found.log_prob, expected, rtol=1e-9, atol=1e-12)
    assert found.log_prob[3] == 0


def test_draws_have_the_conditional_moments(mixture, evidence):
    drawn = mixture.draw(evidence, 40_000, generator())
    mean, covariance = mixture.conditional_moments(evidence)
    assert (drawn.x.mean(1) - mean).abs().max() < 0.05
    for row in range(5):
        torch.testing.assert_close(torch.cov(drawn.x[row].T), covariance[row], atol=0.1, rtol=0.02)
    known = MASKS.unsqueeze(1).expand(drawn.x.shape)
    assert drawn.x[known].equal(evidence.x.unsqueeze(1).expand(drawn.x.shape)[known])
    assert drawn.log_weight.exp().sum(1).tolist() == pytest.approx([1] * 5)
    assert (drawn.y[1] == 0).all()
    posterior = mixture.class_scores(evidence)[0].softmax(0)
    assert (drawn.y[0] == 1).double().mean().item() == pytest.approx(posterior[1].item(), abs=0.01)
    torch.testing.assert_close(drawn.marginal.log_prob, mixture.marginal(evidence).log_prob)


def test_samples_are_draws_given_nothing(mixture):
    x, y = mixture.sample(40_000, generator())
    share = mixture.log_weights.exp().sum(1)
    assert (y == 1).double().mean().item() == pytest.approx(share[1].item(), abs=0.01)
    mean, _ = mixture.conditional_moments(Evidence.nothing(3))
    assert (x.mean(0) - mean[0]).abs().max() < 0.05
    assert mixture.sample(0)[0].shape == (0, 3)
