"""The mixture of Bernoulli products against its definition."""

import itertools

import numpy as np
import pytest
import torch

from ugmm.baselines import BernoulliMixture
from ugmm.nn import Evidence, Queryable

STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))


@pytest.fixture
def mixture():
    torch.manual_seed(0)
    mixture = BernoulliMixture(5, 2, 3)
    with torch.no_grad():
        mixture.class_logits.normal_()
        mixture.weight_logits.normal_()
    return mixture


@torch.no_grad()
def test_it_is_the_definition(mixture):
    scores = mixture.class_scores(STATES).double()
    assert scores.exp().sum().item() == pytest.approx(1, abs=1e-6)
    share = mixture.class_logits.softmax(0)
    weights, theta = mixture.weight_logits.softmax(-1), mixture.logits.sigmoid()
    for i, c in itertools.product((0, 7, 31), range(2)):
        x = STATES[i]
        products = (theta[c] * x + (1 - theta[c]) * (1 - x)).prod(-1)
        expected = (share[c] * weights[c] @ products).log()
        assert scores[i, c].item() == pytest.approx(expected.item(), rel=1e-5)
    y = torch.ones(32, dtype=torch.long)
    torch.testing.assert_close(mixture(STATES, y).double(), scores[:, 1])


@torch.no_grad()
def test_draws_have_their_probabilities(mixture):
    x, y = mixture.sample(40_000, generator=torch.Generator().manual_seed(0))
    index = (x @ torch.tensor([16.0, 8, 4, 2, 1])).long() * 2 + y
    frequency = (torch.bincount(index, minlength=64) / 40_000).numpy()
    expected = mixture.class_scores(STATES).exp().flatten().numpy()
    np.testing.assert_allclose(frequency, expected, atol=0.01)


def test_it_begins_on_rows_of_each_class():
    torch.manual_seed(0)
    mixture = BernoulliMixture(4, 2, 3)
    x = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]).repeat(5, 1)
    mixture.init_from(x, torch.tensor([0, 1]).repeat(5))
    assert mixture.predict(x).tolist() == [0, 1] * 5


def test_queries_are_answered_as_by_enumeration(mixture):
    assert isinstance(mixture, Queryable)
    generator = torch.Generator().manual_seed(0)
    known = torch.tensor(
        [[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 0]]
    ).bool()
    evidence = Evidence(STATES[[5, 0, 9, 0]], known, torch.tensor([-1, 1, 0, -1]))
    found = mixture.marginal(evidence, 1, generator)
    assert found.is_exact
    drawn = mixture.draw(evidence, 20_000, generator)
    joint = mixture.class_scores(STATES).detach().double().exp()  # (32, 2)
    for row in range(4):
        fits = (STATES[:, known[row]] == evidence.x[row, known[row]]).all(1).unsqueeze(1)
        y = evidence.y[row]
        p = joint * fits * (torch.ones(2) if y < 0 else torch.eye(2)[y])
        assert found.log_prob[row].item() == pytest.approx(p.sum().log().item(), abs=1e-6)
        index = (drawn.x[row] @ torch.tensor([16.0, 8, 4, 2, 1])).long() * 2 + drawn.y[row]
        frequency = torch.bincount(index, minlength=64) / 20_000
        torch.testing.assert_close(frequency.double(), (p / p.sum()).flatten(), atol=0.015, rtol=0)
    assert found.log_prob[3] == 0
    with pytest.raises(ValueError, match=r"a feature is 0\.5, and each must be 0 or 1"):
        mixture.marginal(Evidence(torch.full((1, 5), 0.5)), 1, generator)
