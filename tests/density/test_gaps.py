"""Rows with gaps under Gaussians, against SciPy; and a tilted Gaussian of them."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_wine
from torch.testing import assert_close

from density.tilted_cases import make_tilted
from ugmm.density import Gaussian, TiltedGaussian, VicinalNoise, fill_gaps
from ugmm.density.gaps import GaussianSight, complete
from ugmm.nn import Classifier
from ugmm.nn.evidence import Evidence
from ugmm.objectives import RankingNCE
from ugmm.tasks.remake import remake


def with_gaps(x, share=0.4, seed=0):
    """The rows with gaps; nothing is known of the first, everything of the second."""
    generator = torch.Generator().manual_seed(seed)
    gaps = torch.rand(x.shape, generator=generator) < share
    gaps[:, -1] = gaps[1] = False
    gaps[0] = True
    return x.masked_fill(gaps, math.nan)


def gaussian(d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = Gaussian(d)
    made.mean.copy_(torch.randn(d, generator=generator))
    factor = torch.randn(d, d, generator=generator).double()
    made.tril.copy_(torch.linalg.cholesky(factor @ factor.T + 0.2 * torch.eye(d)))
    return made


def test_what_is_known_has_its_marginal_density():
    made, x = gaussian(4), with_gaps(torch.linspace(-2, 2, 48).reshape(12, 4))
    found = GaussianSight(made, x).log_known
    covariance, mean = (made.tril @ made.tril.T).numpy(), made.mean.numpy()
    assert found[0] == 0
    for row, log_prob in zip(x[1:].numpy(), found[1:], strict=True):
        known = ~np.isnan(row)
        assert known.any()
        normal = multivariate_normal(mean[known], covariance[np.ix_(known, known)])
        assert log_prob.item() == pytest.approx(normal.logpdf(row[known]), abs=1e-5)
    assert_close(found[1], made.log_prob(x[1]))


def test_gaps_are_drawn_from_the_conditional():
    made, x = gaussian(3), torch.tensor([[math.nan, 0.7, math.nan], [0.3, -1.0, 0.5]])
    normal = torch.randn(2, 40000, 3, generator=torch.Generator().manual_seed(0)).double()
    drawn = GaussianSight(made, x).complete(normal)
    assert_close(drawn[1], x[1].double().expand(40000, 3))
    assert_close(drawn[0, :, 1], torch.full((40000,), 0.7).double(), rtol=1e-6, atol=0)
    s, a, b = made.tril @ made.tril.T, [1], [0, 2]
    gain = s[b][:, a] / s[1, 1]
    assert_close(
        drawn[0].mean(0)[b], made.mean[b] + gain[:, 0] * (0.7 - made.mean[1]), atol=0.05, rtol=0
    )
    assert_close(drawn[0][:, b].T.cov(), s[b][:, b] - gain @ s[a][:, b], atol=0.06, rtol=0)
    mean, spread = GaussianSight(made, x).moments()
    assert_close(mean[0, b], made.mean[b] + gain[:, 0] * (0.7 - made.mean[1]))
    assert_close(spread[b][:, b], s[b][:, b] - gain @ s[a][:, b])
    assert_close(spread[1], torch.zeros(3).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("labelled", [False, True])
def test_completions_weigh_as_the_proposal_says(labelled):
    density, x, y = make_tilted(3)
    gaps = with_gaps(x)[:6]
    labels = y[:6] if labelled else None
    done = complete(density.proposal, gaps, 4000, labels, torch.Generator().manual_seed(1))
    assert done.log_ratio.max() <= math.log(2) + 1e-9
    # Weighed, they are draws of the base: E_q [b / q] = 1.
    assert_close(done.log_ratio.exp().mean(1), torch.ones(6).double(), atol=0.05, rtol=0)
    assert_close(done.log_ratio[1], torch.zeros(4000).double(), atol=1e-9, rtol=0)
    assert_close(done.log_base[1], density.base.log_prob(gaps[1]))
    assert_close(done.log_proposal[1], density.proposal.log_prob(gaps[1]))
    assert_close(done.log_proposal[0].item(), 0.0)
    known = ~gaps.isnan()
    assert_close(done.x.mean(1)[known], gaps[known].double())


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_gaps_are_filled_with_the_covariance_of_the_whole_rows(share):
    x, y = (torch.from_numpy(values) for values in load_wine(return_X_y=True))
    x = ((x - x.mean(0)) / x.std(0)).float()
    gaps = with_gaps(x, share)
    filled = fill_gaps(gaps, y)
    known = ~gaps.isnan()
    assert torch.equal(filled[known], x[known])

    def error(rows):
        return (rows.T.cov() - x.T.cov()).norm() / x.T.cov().norm()

    means = gaps.where(known, gaps.nanmean(0))
    assert error(filled) < 0.5 * error(means)
    assert torch.equal(fill_gaps(gaps, y), filled)
    assert fill_gaps(x, y) is x
    noise, whole = VicinalNoise(13), VicinalNoise(13)
    noise.fit(filled, y)
    whole.fit(x, y)
    assert (noise.tril - whole.tril).norm() < 0.45 * whole.tril.norm()


def test_many_features_are_filled_each_by_itself():
    x = torch.randn(40, 200)
    x[:, 7] = 0
    gaps = x.masked_fill(torch.rand(40, 200) < 0.5, math.nan)
    gaps[:, 9] = math.nan
    assert fill_gaps(gaps, torch.arange(40) % 2).isfinite().all()


def expecting_gaps(*arguments, **options):
    density, x, y = make_tilted(*arguments, **options)
    density.expect_missing()
    density.normalize(2**14)
    return density, with_gaps(x), y


@pytest.mark.parametrize("hidden", [(), (6, 4)])
def test_class_scores_of_gaps_are_the_marginals(hidden):
    density, x, _ = expecting_gaps(3, hidden=hidden, min_scale=0.3)
    with torch.no_grad():
        found = density.class_scores(x)
    for c in range(3):
        evidence = Evidence(x, y=torch.full((len(x),), c))
        marginal = density.marginal(evidence, 2**12, torch.Generator().manual_seed(0))
        off = found[:, c] - marginal.log_prob
        assert off.abs().max() < 0.25
        assert off.square().mean().sqrt() < 0.06
    assert found[0].logsumexp(0).item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(density.class_scores(x), found)  # the draws are the same
    whole = density.class_scores(x[1:2])
    density.missing = False
    assert_close(density.class_scores(x[1:2]), whole, atol=1e-5, rtol=1e-5)


def test_a_base_is_fitted_to_rows_with_gaps():
    density, _, y = make_tilted(3)
    whole = density.base.tril.clone()
    x = make_tilted(3)[1]
    density.expect_missing()
    density.fit_base(with_gaps(x, 0.2), y)
    assert density.base.tril.isfinite().all()
    assert (density.base.tril - whole).norm() < 0.2 * whole.norm()


@pytest.mark.parametrize("label_weight", [0.0, 0.5])
def test_ranking_nce_of_gaps_claims_what_is_known(label_weight):
    density, x, y = expecting_gaps(2, min_scale=0.3)
    objective = RankingNCE(2**14, label_weight)
    torch.manual_seed(0)
    losses = [objective.loss(density, x, y) for _ in range(10)]
    losses[0].backward()
    assert all(p.grad.isfinite().all() for p in density.score.parameters())
    claims = [objective.claim(density, x, loss) for loss in losses]
    if label_weight:
        assert claims[0] is None
        return
    # The claim is a bound, which few draws leave a little too low.
    log_prob = density(x, y).mean()
    assert log_prob - 0.15 < torch.stack(claims).mean() < log_prob + 0.03


def test_whole_rows_have_the_loss_that_they_had():
    density, x, y = make_tilted(3)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(RankingNCE(64).loss(density, x, y))
        density.expect_missing()
    assert losses[0] == losses[1]


def test_a_density_made_again_expects_gaps_too():
    density, x, _ = expecting_gaps(3)
    recipe = {"class_path": "ugmm.density.TiltedGaussian", "init_args": density.init_args}
    again = remake(recipe, Classifier, "network").eval()
    again.load_state_dict(density.state_dict())
    assert isinstance(again, TiltedGaussian)
    assert_close(again.class_scores(x), density.class_scores(x))
