"""Predictive distributions, against torch.distributions, SciPy, integrals and draws."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as D

from ugmm.nn import GaussianPredictive, MixturePredictive, Predictive, QuantilePredictive

LEVELS = (0.05, 0.2, 0.5, 0.7, 0.95)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def gaussian(*lead):
    return GaussianPredictive(draw(*lead), draw(*lead, seed=1).exp())


def mixture(*lead, n=3):
    weights = draw(*lead, n, seed=2).log_softmax(-1)
    return MixturePredictive(weights, 2 * draw(*lead, n), draw(*lead, n, seed=1).exp())


def quantiles(*lead):
    return QuantilePredictive(LEVELS, draw(*lead, len(LEVELS)).sort(-1).values)


KINDS = pytest.mark.parametrize("make", [gaussian, mixture, quantiles])
SMOOTH = pytest.mark.parametrize("make", [gaussian, mixture])


def reference(predictive):
    """The same distribution of torch."""
    if isinstance(predictive, GaussianPredictive):
        return D.Normal(predictive.mean, predictive.scale)
    parts = D.Normal(predictive.components.mean, predictive.components.scale)
    return D.MixtureSameFamily(D.Categorical(logits=predictive.log_weights), parts)


@SMOOTH
def test_densities_and_moments_are_those_of_torch(make):
    predictive, y = make(2, 5), 2 * draw(2, 5, seed=3)
    expected = reference(predictive)
    torch.testing.assert_close(predictive.log_prob(y), expected.log_prob(y))
    torch.testing.assert_close(predictive.cdf(y), expected.cdf(y))
    torch.testing.assert_close(predictive.mean, expected.mean)
    torch.testing.assert_close(predictive.variance, expected.variance)


@KINDS
@pytest.mark.parametrize("lead", [(), (5,), (2, 5), (0,)])
def test_all_of_it_has_the_shape_of_the_batch(make, lead):
    predictive, y = make(*lead), draw(*lead, seed=3)
    assert isinstance(predictive, Predictive)
    found = [predictive.mean, predictive.variance, predictive.cdf(y), predictive.crps(y)]
    found += [predictive.quantile(0.3), *predictive.interval(0.9)]
    found += [predictive.log_prob(y)] if predictive.has_density else [predictive.pinball(y)]
    assert [tuple(each.shape) for each in found] == [lead] * len(found)
    assert all(each.dtype == torch.float64 and each.isfinite().all() for each in found)


@KINDS
def test_a_grid_is_asked_of_every_row(make):
    predictive, grid = make(5), torch.linspace(-2, 2, 7, dtype=torch.float64).unsqueeze(-1)
    for ask in (predictive.cdf, predictive.crps):
        found = ask(grid)
        assert found.shape == (7, 5)
        torch.testing.assert_close(found[3], ask(grid[3].expand(5)))
    p = torch.tensor([0.1, 0.6], dtype=torch.float64).unsqueeze(-1)
    torch.testing.assert_close(
        predictive.quantile(p), torch.stack([predictive.quantile(0.1), predictive.quantile(0.6)])
    )


@KINDS
@pytest.mark.parametrize("p", [1e-6, 0.03, 0.25, 0.5, 0.95, 1 - 1e-6])
def test_quantiles_invert_the_distribution_function(make, p):
    predictive = make(2, 50)
    at = predictive.quantile(p)
    torch.testing.assert_close(predictive.cdf(at), torch.full_like(at, p))


@SMOOTH
def test_quantiles_of_all_and_nothing_are_infinite(make):
    predictive = make(5)
    assert torch.equal(predictive.quantile(0.0), torch.full((5,), -math.inf).double())
    assert torch.equal(predictive.quantile(1.0), torch.full((5,), math.inf).double())


@KINDS
def test_an_interval_holds_its_share(make):
    predictive = make(50)
    low, high = predictive.interval(0.8)
    assert (low < high).all()
    for end, p in ((low, 0.1), (high, 0.9)):
        torch.testing.assert_close(predictive.cdf(end), torch.full_like(end, p))


@pytest.mark.parametrize("level", [0, 1, 90, -0.1, math.nan])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        gaussian(5).interval(level)


@KINDS
def test_crps_is_the_integral_of_the_squared_difference(make):
    predictive, step = make(4), 2.0**-11
    t = (torch.arange(-40, 40, step, dtype=torch.float64) + step / 2).unsqueeze(-1)
    cdf = predictive.cdf(t)
    for y in (-1.25, 0.25, 2.5):
        expected = ((cdf - (t > y).double()).square() * step).sum(0)
        found = predictive.crps(torch.full((4,), y, dtype=torch.float64))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@KINDS
def test_crps_is_the_mean_over_draws(make):
    predictive, y = make(3), draw(3, seed=3)
    p = torch.rand(2, 20_000, 1, generator=torch.Generator().manual_seed(4)).double()
    first, second = predictive.quantile(p)
    expected = (first - y).abs().mean(0) - 0.5 * (first - second).abs().mean(0)
    torch.testing.assert_close(predictive.crps(y), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(first.mean(0), predictive.mean, rtol=0.05, atol=0.05)
    torch.testing.assert_close(first.var(0), predictive.variance, rtol=0.05, atol=0.02)


def test_a_mixture_of_one_is_a_gaussian():
    one, y = gaussian(5), draw(5, seed=3)
    mean, scale = one.mean.unsqueeze(-1), one.scale.unsqueeze(-1)
    same = MixturePredictive(torch.zeros_like(mean), mean, scale)
    for name in ("log_prob", "cdf", "crps"):
        torch.testing.assert_close(getattr(same, name)(y), getattr(one, name)(y))
    torch.testing.assert_close(same.quantile(0.8), one.quantile(0.8))


def test_far_apart_components_have_quantiles():
    """Between them the distribution function is flat."""
    weights = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    means = torch.tensor([[-100.0, 100.0]], dtype=torch.float64)
    predictive = MixturePredictive(weights, means, torch.full_like(means, 0.1))
    expected = [100 * math.copysign(1, p - 0.5) + 0.1 * stats.norm.ppf(q)
                for p, q in ((0.2, 0.4), (0.9, 0.8))]  # fmt: skip
    found = [float(predictive.quantile(p)) for p in (0.2, 0.9)]
    assert found == pytest.approx(expected, abs=1e-9)


@KINDS
def test_units_are_changed_as_those_of_the_target(make):
    predictive, y = make(5), draw(5, seed=3)
    mean, std = 100.0, 7.0
    for scale in (std, torch.full((5,), std, dtype=torch.float64)):
        scaled = predictive.scaled(mean, scale)
        raw = mean + std * y
        torch.testing.assert_close(scaled.mean, mean + std * predictive.mean)
        torch.testing.assert_close(scaled.variance, std**2 * predictive.variance)
        torch.testing.assert_close(scaled.cdf(raw), predictive.cdf(y))
        torch.testing.assert_close(scaled.quantile(0.3), mean + std * predictive.quantile(0.3))
        torch.testing.assert_close(scaled.crps(raw), std * predictive.crps(y))
        if predictive.has_density:
            torch.testing.assert_close(
                scaled.log_prob(raw), predictive.log_prob(y) - math.log(std)
            )


@SMOOTH
@pytest.mark.parametrize("name", ["log_prob", "crps", "cdf"])
def test_gradients_are_those_of_differences(make, name):
    y = draw(3, seed=3)

    def value(*parameters):
        kind = GaussianPredictive if make is gaussian else MixturePredictive
        return getattr(kind(*parameters), name)(y)

    made = make(3)
    parameters = (
        (made.mean, made.scale)
        if make is gaussian
        else (made.log_weights, made.components.mean, made.components.scale)
    )
    assert torch.autograd.gradcheck(value, [each.requires_grad_() for each in parameters])


@pytest.mark.parametrize("name", ["crps", "pinball"])
def test_gradients_of_quantiles_are_those_of_differences(name):
    y, values = draw(3, seed=3), draw(3, len(LEVELS)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda values: getattr(QuantilePredictive(LEVELS, values), name)(y), [values]
    )


def test_quantiles_that_cross_are_put_in_order():
    values = torch.tensor([3.0, 1.0, 2.0])
    predictive = QuantilePredictive((0.1, 0.5, 0.9), values)
    assert predictive.values.tolist() == [1, 2, 3]
    y = draw(1000).float()
    crossed = QuantilePredictive((0.1, 0.5, 0.9), values.expand(1000, 3)).pinball(y)
    off = y.unsqueeze(-1) - values
    levels = torch.tensor([0.1, 0.5, 0.9])
    raw = torch.maximum(levels * off, (levels - 1) * off).mean(-1)
    assert (crossed <= raw + 1e-6).all()


def test_quantiles_are_interpolated():
    predictive = QuantilePredictive((0.2, 0.4, 0.8), torch.tensor([1.0, 3.0, 4.0]))
    for p, value in ((0.0, -1), (0.1, 0), (0.2, 1), (0.3, 2), (0.4, 3), (0.6, 3.5), (1.0, 4.5)):
        assert float(predictive.quantile(p)) == pytest.approx(value, abs=1e-6)
    assert float(predictive.cdf(torch.tensor(-5.0))) == 0
    assert float(predictive.cdf(torch.tensor(9.0))) == 1


def test_pinball_is_that_of_scikit_learn():
    from sklearn.metrics import mean_pinball_loss

    predictive, y = quantiles(50), draw(50, seed=3)
    expected = np.mean(
        [
            mean_pinball_loss(y, predictive.values[:, i], alpha=level)
            for i, level in enumerate(LEVELS)
        ]
    )
    assert float(predictive.pinball(y).mean()) == pytest.approx(expected)


def test_equal_quantiles_are_a_point():
    predictive = QuantilePredictive((0.25, 0.75), torch.tensor([2.0, 2.0]))
    assert predictive.mean == 2
    assert predictive.variance == 0
    y = torch.tensor([1.0, 2.0, 4.0])
    assert predictive.cdf(y).tolist() == [0, 1, 1]
    assert predictive.crps(y).tolist() == [1, 0, 2]
    assert predictive.quantile(0.1) == 2


def test_quantiles_have_no_density():
    assert not QuantilePredictive.has_density
    with pytest.raises(NotImplementedError, match="QuantilePredictive has no density"):
        quantiles(5).log_prob(draw(5))


@pytest.mark.parametrize("levels", [(0.5,), (), (0.5, 0.2), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)])
def test_levels_that_are_none_are_refused(levels):
    with pytest.raises(ValueError, match="levels must be two or more increasing numbers"):
        QuantilePredictive(levels, torch.zeros(3, len(levels)))


def test_targets_from_the_predictions_have_a_uniform_pit():
    """Targets drawn from the predictions have uniform PIT values."""
    predictive = mixture(4000)
    y = reference(predictive).sample()
    assert stats.kstest(predictive.cdf(y).numpy(), "uniform").pvalue > 0.01
