"""The mean of densities: what it answers, and how sure it is."""

import math

import pytest
import torch
from tilted_cases import make_tilted

from ugmm.density import Ensemble
from ugmm.nn import Evidence, Queryable


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ensemble(**options):
    members = [make_tilted(3, seed=seed, **options)[0] for seed in range(3)]
    for member in members:
        member.normalize(2**12)
    return Ensemble(members)


MASKS = torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]]).bool()


def evidence():
    x = torch.randn(4, 3, generator=generator(3))
    return Evidence(x, MASKS, torch.tensor([-1, 2, -1, -1]))


def test_marginals_are_the_means_of_the_members():
    whole = ensemble()
    assert isinstance(whole, Queryable)
    found = whole.marginal(evidence(), 3 * 1024, generator())
    parts = [member.marginal(evidence(), 1024, generator()) for member in whole]
    expected = torch.stack([part.log_prob for part in parts]).logsumexp(0) - math.log(3)
    assert (found.log_prob - expected).abs().max() < 4 * found.error.max()
    assert (found.error[:3] > 0).all()
    assert (found.log_prob[3], found.error[3]) == (0, 0)
    assert not found.is_exact


def test_of_exact_members_the_answer_is_exact():
    whole = ensemble(hidden=())
    found = whole.marginal(evidence(), 1, generator())
    assert found.is_exact
    parts = [member.mixture().marginal(evidence()).log_prob for member in whole]
    torch.testing.assert_close(found.log_prob, torch.stack(parts).logsumexp(0) - math.log(3))


def test_draws_come_from_members_by_their_responsibility():
    whole = ensemble(hidden=())
    drawn = whole.draw(evidence(), 20_000, generator())
    logs = torch.stack([member.mixture().marginal(evidence()).log_prob for member in whole])
    share = logs.softmax(0)
    moments = [member.mixture().conditional_moments(evidence())[0] for member in whole]
    mean = (share.unsqueeze(2) * torch.stack(moments)).sum(0)
    torch.testing.assert_close(drawn.x.double().mean(1), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.log_weight.exp().sum(1), torch.ones(4).double())
    torch.testing.assert_close(
        drawn.marginal.log_prob, whole.marginal(evidence(), 1, generator())[0]
    )


def test_weighted_members_make_weighted_draws():
    whole = ensemble()
    drawn = whole.draw(evidence(), 8000, generator())
    exact = [member.draw(evidence(), 30_000, generator(1)) for member in whole]
    share = torch.stack([each.marginal.log_prob for each in exact]).softmax(0)
    means = [(each.log_weight.exp().unsqueeze(2) * each.x).sum(1) for each in exact]
    mean = (share.unsqueeze(2) * torch.stack(means)).sum(0)
    found = (drawn.log_weight.exp().unsqueeze(2) * drawn.x).sum(1)
    torch.testing.assert_close(found, mean, atol=0.05, rtol=0)


def test_members_that_cannot_be_queried_make_no_ensemble_that_can():
    from ugmm.nn import Density

    class Plain(Density):
        pass

    assert not isinstance(Ensemble([Plain()]), Queryable)
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([])
