"""Conditionals against closed forms: one feature or several, exact or by draws."""

import math

import pytest
import torch
from exact_densities import BinaryTable, half_known, random_gaussians
from scipy.integrate import quad
from torch.distributions import (
    Categorical,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from ugmm.inference import Evidence, conditional


def truth_of(density, row, features):
    """The exact conditional of free features, by their places among these: a mixture."""
    means, covariances = density.conditionals(row)
    shares = Categorical(logits=density.known_scores(row))
    if isinstance(features, int):
        scales = covariances[:, features, features].sqrt()
        return MixtureSameFamily(shares, Normal(means[:, features], scales))
    parts = MultivariateNormal(means[:, features], covariances[:, features][:, :, features])
    return MixtureSameFamily(shares, parts)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_one_feature_has_its_conditional(seed, labelled, forced):
    density = random_gaussians(4, seed=seed, forced=forced)
    row = half_known(4, seed=seed)
    row = row.with_label(1) if labelled else row
    truth = truth_of(density, row, 1)
    found = conditional(density, 3, row, seed=seed, n=2048)
    assert found.is_exact != forced
    near = 1e-9 if not forced else 4
    assert abs(found.mean - truth.mean) < near * (found.error if forced else 1)
    assert abs(found.variance - truth.variance) < near * (found.variance_error if forced else 1)
    values = truth.mean + truth.stddev * torch.linspace(-3, 3, 7).double()
    gap, error = found.log_prob(values) - truth.log_prob(values), found.log_prob_error(values)
    assert (gap.abs() < (5 * error if forced else 1e-9)).all()
    assert quad(lambda v: float(found.log_prob(torch.tensor([v])).exp()), -15, 15)[0] == (
        pytest.approx(1, abs=1e-6)
    )


@pytest.mark.parametrize("forced", [False, True])
def test_the_last_feature_is_exact_whatever_the_density(forced):
    density = random_gaussians(3, seed=1, forced=forced)
    row = Evidence(torch.tensor([[0.3, math.nan, -0.2]], dtype=torch.float64))
    found, truth = conditional(density, 1, row, n=64), truth_of(density, row, 0)
    assert found.is_exact
    assert (found.error == 0).all()
    mass = torch.tensor([0.001, 0.2, 0.5, 0.9, 0.9999]).double()
    values = found.quantile(mass)
    assert values.shape == (5, 1)
    torch.testing.assert_close(truth.cdf(values[:, 0]), mass, atol=1e-9, rtol=0)
    torch.testing.assert_close(found.log_prob(values)[:, 0], truth.log_prob(values[:, 0]))
    torch.testing.assert_close(found.mean[0], truth.mean)
    torch.testing.assert_close(found.variance[0], truth.variance)
    drawn = found.sample(4000)[:, 0]
    torch.testing.assert_close(drawn.mean(), truth.mean, atol=0.05, rtol=0)
    assert not torch.equal(found.sample(5), found.sample(5))


def test_narrow_modes_far_apart_are_found():
    scales = torch.tensor([0.003, 0.5, 0.02]).double()
    density = random_gaussians(1, 3)
    density.means = torch.tensor([[-4.0], [0.0], [7.0]]).double()
    density.covariances = scales.square()[:, None, None]
    found = conditional(density, 0, Evidence.nothing(1), n=1000)
    truth = truth_of(density, Evidence.nothing(1), 0)
    torch.testing.assert_close(found.mean[0], truth.mean)
    torch.testing.assert_close(found.variance[0], truth.variance)
    mass = torch.linspace(0.01, 0.99, 9).double()
    torch.testing.assert_close(truth.cdf(found.quantile(mass)[:, 0]), mass, atol=1e-7, rtol=0)


@pytest.mark.parametrize("forced", [False, True])
def test_several_features_have_their_conditional(forced):
    density = random_gaussians(5, seed=4, forced=forced, width=2.0)
    evidence = half_known(5, n=2, seed=2)
    found = conditional(density, [4, 2], evidence, n=4096)
    assert found.mean.shape == found.variance.shape == found.error.shape == (2, 2)
    assert found.sample(3).shape == (3, 2, 2)
    assert found.is_exact != forced
    values = torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    for i in range(2):
        truth = truth_of(density, evidence[i : i + 1], [2, 0])
        assert ((found.mean[i] - truth.mean).abs() < 4 * found.error[i] + 1e-9).all()
        variance = truth.component_distribution.covariance_matrix.diagonal(dim1=1, dim2=2)
        spread = (truth.component_distribution.loc - truth.mean).square()
        variance = truth.mixture_distribution.probs @ (variance + spread)
        assert ((found.variance[i] - variance).abs() < 4 * found.variance_error[i] + 1e-9).all()
        gap = found.log_prob(values)[:, i] - truth.log_prob(values[:, i])
        assert (gap.abs() < 4 * found.log_prob_error(values)[:, i] + 1e-9).all()
        one = truth_of(density, evidence[i : i + 1], 2)
        mass = torch.tensor([0.1, 0.5, 0.9]).double()
        below, near = one.cdf(found.quantile(mass)[:, i, 0]), 0.05 if forced else 1e-7
        torch.testing.assert_close(below, mass, atol=near, rtol=0)
    drawn = found.sample(3000)
    torch.testing.assert_close(drawn.mean(0), found.mean, atol=0.1, rtol=0)


@pytest.mark.parametrize("forced", [False, True])
def test_a_binary_feature_has_its_probability(forced):
    density = BinaryTable(forced=forced).eval()
    row = Evidence(torch.tensor([[1.0, math.nan, math.nan, math.nan]]), y=torch.tensor([1]))
    found = conditional(density, 2, row, n=8000)
    joint = density.joint(row).logsumexp(1).exp()
    truth = joint[density.rows[:, 2] == 1].sum() / joint.sum()
    torch.testing.assert_close(found.mean[0], truth, atol=1e-9 if not forced else 0.03, rtol=0)
    assert (found.error[0] > 0) == forced
    logs = found.log_prob(torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(logs.exp().sum(), torch.ones(()).double())
    assert set(found.sample(50).flatten().tolist()) == {0.0, 1.0}
    assert found.quantile(torch.tensor([0.0, 1.0])).flatten().tolist() == [0.0, 1.0]
    two = conditional(density, [1, 2], row, n=500)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 2).unsqueeze(1)
    torch.testing.assert_close(two.log_prob(corners).exp().sum(), torch.ones(()).double())


def test_a_rows_answer_does_not_depend_on_the_others():
    density, evidence = random_gaussians(4, forced=True), half_known(4, n=3)
    together = conditional(density, 2, evidence, n=256)
    alone = conditional(density, 2, evidence[1:2], n=256)
    assert together.batch_shape == (3,)
    assert together.event_shape == ()
    torch.testing.assert_close(together.mean[1:2], alone.mean)
    values = torch.tensor([0.1, 0.2, 0.3])
    logs = together.log_prob(values)
    torch.testing.assert_close(logs[1:2], alone.log_prob(values[1:2]))
    torch.testing.assert_close(together.log_prob(values.expand(4, 3)), logs.expand(4, 3))


ONE = Evidence.nothing(3)


@pytest.mark.parametrize(
    ("query", "evidence", "complaint"),
    [
        (3, ONE, "there is no feature 3: they are 0 to 2"),
        (-1, ONE, "there is no feature -1"),
        ([], ONE, "one or several features"),
        ([1, 1], ONE, "one or several features"),
        (1, ONE[:0], "at least one row"),
        (
            [0, 1],
            Evidence(torch.tensor([[math.nan] * 3, [math.nan, 1, 2]])),
            "row 1: feature 1 is",
        ),
        (
            1,
            Evidence(torch.tensor([[1e200, math.nan, math.nan]], dtype=torch.float64)),
            "too far from all",
        ),
    ],
)
def test_what_cannot_be_asked(query, evidence, complaint):
    with pytest.raises(ValueError, match=complaint):
        conditional(random_gaussians(3, forced=True), query, evidence)


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda c: c.log_prob(torch.tensor([math.nan])), "a value is not finite"),
        (lambda c: c.quantile(1.5), "from 0 to 1"),
        (lambda c: c.sample(-1), "must not be negative"),
    ],
)
def test_what_a_conditional_cannot_answer(ask, complaint):
    with pytest.raises(ValueError, match=complaint):
        ask(conditional(random_gaussians(3), 0, ONE, n=64))


def test_binary_values_and_shapes_are_checked():
    found = conditional(BinaryTable().eval(), [0, 1], Evidence.nothing(4), n=64)
    with pytest.raises(ValueError, match="a feature is 0"):
        found.log_prob(torch.tensor([[0.5, 0.0]]))
    with pytest.raises(ValueError, match=r"values must end in \(2,\)"):
        found.log_prob(torch.zeros(3))
    assert found.sample(0).shape == (0, 1, 2)
