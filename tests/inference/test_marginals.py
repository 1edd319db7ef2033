"""Marginals: exact or by draws, row by row, and what cannot be asked."""

import pytest
import torch
from exact_densities import BinaryTable, half_known, random_gaussians

from ugmm.inference import Evidence, marginal
from ugmm.nn import UGMMNetwork


@pytest.mark.parametrize("seed", range(5))
def test_draws_agree_with_the_closed_form(seed):
    evidence = half_known(4, n=3, seed=seed)
    truth = marginal(random_gaussians(4, seed=seed), evidence)
    found = marginal(random_gaussians(4, seed=seed, forced=True), evidence, seed=seed)
    assert truth.is_exact
    assert not found.is_exact
    assert ((found.log_prob - truth.log_prob).abs() < 4 * found.error).all()
    assert (found.effective < 0.9).all()


@pytest.mark.parametrize("forced", [False, True])
def test_a_rows_answer_does_not_depend_on_the_others(forced):
    density = random_gaussians(3, forced=forced)
    x = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 2.0], [0.0, 0.0, 0.0], [0.2, 0.0, 0.0]]).double()
    known = torch.tensor([[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0]]).bool()
    evidence = Evidence(x, known, torch.tensor([-1, -1, 1, 0]))
    together = marginal(density, evidence, n=64, seed=3)
    alone = [marginal(density, evidence[i : i + 1], n=64, seed=3) for i in (3, 1, 2, 0)]
    expected = torch.cat([each.log_prob for each in alone])[[3, 1, 2, 0]]
    torch.testing.assert_close(together.log_prob, expected)
    other = marginal(density, evidence, n=64, seed=4).log_prob
    assert torch.equal(other, together.log_prob) != forced


def test_rows_that_are_answered_exactly_are_asked_together():
    density = random_gaussians(3)
    marginal(density, half_known(3, n=1100))
    assert density.asked == [1, 1024, 75]


def test_no_rows_are_no_answers():
    assert marginal(random_gaussians(3), Evidence(torch.zeros(0, 3))).log_prob.shape == (0,)


def test_all_or_nothing_may_be_known():
    density = random_gaussians(3)
    row = torch.ones(1, 3).double()
    nothing, everything = marginal(density, Evidence.nothing(3)), marginal(density, Evidence(row))
    torch.testing.assert_close(nothing.log_prob, torch.zeros(1).double())
    torch.testing.assert_close(everything.log_prob, density.log_prob(row))


@pytest.mark.parametrize(
    ("density", "evidence", "complaint"),
    [
        (UGMMNetwork([3, 2]), Evidence.nothing(3), "UGMMNetwork has no density of its features"),
        (random_gaussians(3).train(), Evidence.nothing(3), r"call eval\(\) first"),
        (random_gaussians(3), Evidence.nothing(4), "of 4 features, and the density has 3"),
        (
            random_gaussians(3),
            Evidence(torch.zeros(2, 3), y=torch.tensor([0, 2])),
            "a label is 2, and it must be 0 to 1",
        ),
        (BinaryTable().eval(), Evidence(torch.full((1, 4), 0.5)), "a feature is 0.5"),
        (
            random_gaussians(3, forced=True),
            Evidence(torch.full((1, 3), 1e200, dtype=torch.float64)),
            "too far from all",
        ),
    ],
)
def test_what_cannot_be_asked(density, evidence, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        marginal(density, evidence)
    assert "\n" not in str(error.value)
