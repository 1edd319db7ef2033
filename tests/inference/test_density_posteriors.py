"""The posterior of a density's classes: exact where it can be, else by draws."""

import pytest
import torch
from exact_densities import BinaryTable, half_known, random_gaussians

from ugmm.inference import Evidence
from ugmm.inference.density_posteriors import density_posterior


@pytest.mark.parametrize("seed", range(4))
def test_draws_agree_with_the_closed_form(seed):
    exact, forced = (random_gaussians(4, 3, seed=seed, forced=f) for f in (False, True))
    evidence = half_known(4, n=3, seed=seed)
    truth, none, whole, is_exact = density_posterior(exact, evidence, 10, 0)
    expected = [exact.known_scores(evidence[i : i + 1]).softmax(0) for i in range(3)]
    torch.testing.assert_close(truth, torch.stack(expected))
    assert is_exact
    assert (none == 0).all()
    assert (whole == 1).all()
    found, error, share, is_exact = density_posterior(forced, evidence, 4096, seed)
    assert not is_exact
    assert ((found - truth).abs() < 4 * error + 1e-9).all()
    assert ((share > 0.01) & (share < 0.9)).all()
    torch.testing.assert_close(found.sum(1), torch.ones(3).double())


def test_whole_rows_are_answered_exactly_and_labels_not_looked_at():
    density = random_gaussians(3, forced=True)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double()
    probs, _, _, is_exact = density_posterior(density, Evidence(x, y=torch.tensor([1, -1])), 8, 0)
    torch.testing.assert_close(probs, density.posterior(x))
    assert is_exact


def test_where_nothing_is_known_classes_have_their_shares():
    for forced in (False, True):
        density = BinaryTable(forced=forced).eval()
        probs, *_ = density_posterior(density, Evidence.nothing(4, 2), 64, 0)
        torch.testing.assert_close(probs, density.log_p.exp().sum(0).expand(2, -1))


def test_a_rows_answer_does_not_depend_on_the_others():
    density = random_gaussians(4, forced=True)
    evidence = half_known(4, n=3)
    together = density_posterior(density, evidence, 128, 1)[0]
    torch.testing.assert_close(density_posterior(density, evidence[2:], 128, 1)[0], together[2:])


def test_evidence_beyond_all_numbers_is_refused():
    evidence = Evidence(torch.tensor([[0.0, torch.nan], [1e200, torch.nan]], dtype=torch.float64))
    for forced in (False, True):
        with pytest.raises(ValueError, match="too far from all"):
            density_posterior(random_gaussians(2, forced=forced), evidence, 16, 0)
