"""Conditional Gaussians against their textbook formula, and the proposal made of them."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from ugmm.density.conditional import ConditionalGaussians, DefensiveConditional
from ugmm.nn import Evidence


def gaussians(k, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    matrices = torch.randn(k, d, d, generator=generator, dtype=torch.float64)
    covariances = matrices @ matrices.mT / d + 0.1 * torch.eye(d)
    means = torch.randn(k, d, generator=generator, dtype=torch.float64)
    return means, torch.linalg.cholesky(covariances), covariances.numpy()


@pytest.mark.parametrize("known", [[1, 3], [0], [4, 2, 0], [], [0, 1, 2, 3, 4]])
def test_conditionals_are_those_of_the_textbook(known):
    means, trils, covariances = gaussians(3, 5)
    mask = torch.zeros(5, dtype=torch.bool)
    mask[known] = True
    x = torch.randn(7, 5)
    made = ConditionalGaussians(means, trils, mask)
    log_known, found = made.given(x)
    a, b = made.known.numpy(), made.free.numpy()
    deviations = torch.randn(3, 4, len(b), dtype=torch.float64)
    logs = made.log_prob(deviations)
    for k, (m, s) in enumerate(zip(means.numpy(), covariances, strict=True)):
        gain = s[np.ix_(b, a)] @ np.linalg.inv(s[np.ix_(a, a)])
        centred = x.double().numpy()[:, a] - m[a]
        np.testing.assert_allclose(found[:, k], m[b] + centred @ gain.T, atol=1e-10)
        rest = s[np.ix_(b, b)] - gain @ s[np.ix_(a, b)]
        tril = made.free_tril[k].numpy()
        np.testing.assert_allclose(tril @ tril.T, rest, atol=1e-10)
        if len(a):
            law = multivariate_normal(m[a], s[np.ix_(a, a)])
            np.testing.assert_allclose(log_known[:, k], law.logpdf(x[:, a]), rtol=1e-9)
        if len(b):
            law = multivariate_normal(np.zeros(len(b)), rest)
            np.testing.assert_allclose(logs[k], law.logpdf(deviations[k]), rtol=1e-9)


def test_a_narrow_direction_keeps_its_digits():
    means, trils, _ = gaussians(1, 4)
    trils = trils.clone()
    trils[0, 3] *= 1e-9  # a covariance would hold 1e-18 beside 1
    made = ConditionalGaussians(means, trils, torch.tensor([True, True, True, False]))
    assert made.free_tril.item() == pytest.approx(abs(trils[0, 3, 3].item()), rel=1e-6)


@pytest.fixture
def proposal():
    means, trils, _ = gaussians(3, 3)
    mask = torch.tensor([False, True, False])
    rows = Evidence(torch.tensor([[0, 1.0, 0], [0, 1e5, 0], [0, -0.5, 0]]), mask.expand(3, 3))
    rows = Evidence(rows.x, rows.known, torch.tensor([-1, -1, 1]))
    return DefensiveConditional(ConditionalGaussians(means, trils, mask), rows)


def test_half_of_the_proposal_is_the_bases_whatever_is_known(proposal):
    assert proposal.shares.isfinite().all()
    torch.testing.assert_close(proposal.shares.sum(1), torch.ones(3, dtype=torch.float64))
    assert (proposal.shares[:, 0] == 0.5).all()
    assert proposal.shares[2].tolist() == [0.5, 0, 0.5]  # its label says so
    free = 5 * torch.randn(3, 50, 2, dtype=torch.float64)
    assert (proposal.log_ratio(free) <= np.log(2) + 1e-12).all()


@pytest.mark.parametrize("own", [False, True])
def test_draws_of_the_proposal_have_its_density(proposal, own):
    """The mean of b / q over draws of q is one, and their shares are the parts'."""
    torch.manual_seed(0)
    shape = (3, 20_000) if own else (20_000,)
    free = proposal.place(torch.rand(shape), torch.randn(*shape, 2, dtype=torch.float64))
    ratio = proposal.log_ratio(free).exp()
    torch.testing.assert_close(ratio.mean(1), torch.ones(3).double(), atol=0.03, rtol=0)
    mean = (proposal.shares.unsqueeze(2) * proposal._means).sum(1)
    spread = free.std(1)
    assert ((free.mean(1) - mean).abs() < 0.05 * spread).all()
