"""The families that benchmarks/architectures/regression.py compares."""

import sys
from pathlib import Path

import pytest
import torch

from ugmm.nn import GaussianPredictive, RegressionNetwork

FOLDER = Path(__file__).parents[1] / "benchmarks" / "architectures"


@pytest.fixture
def families(monkeypatch):
    """Import them as the script does, train briefly, and forget them afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    import regression_families

    monkeypatch.setattr(regression_families, "STEPS", 40)
    monkeypatch.setattr(regression_families, "TREES", 30)
    yield regression_families
    sys.modules.pop("regression_families", None)


def rows(families, n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    return families.Rows(x, x[:, 0] - 0.5 * x[:, 1].square() + 0.3 * noise)


def test_every_family_has_as_many_settings(families):
    assert {len(family.settings) for family in families.FAMILIES.values()} == {8}


@pytest.mark.parametrize("name", ["Ridge", "boosting", "MLP, Gaussian", "uGMM, Gaussian",
                                  "uGMM, mixture"])  # fmt: skip
def test_a_family_learns_and_learns_the_same_again(families, name):
    train, held = rows(families, 120, 0), rows(families, 60, 1)
    family = families.FAMILIES[name]
    first = family.fit(train, family.settings[0], 3, held=held)
    again = family.fit(train, family.settings[0], 3, held=held)
    mean = first.predict(held.x).mean
    assert torch.equal(again.predict(held.x).mean, mean)
    assert (mean - held.y).square().mean() < 0.9 * held.y.var()
    refit = family.fit(train, family.settings[0], 3, stop=first.stop)
    assert refit.stop == first.stop
    torch.testing.assert_close(refit.predict(held.x).mean, mean)


def test_a_network_is_kept_as_it_was_when_best(families, monkeypatch):
    train, held = rows(families, 120, 0), rows(families, 60, 1)
    losses = iter([3.0, 1.0, 2.0, 1.5])
    monkeypatch.setattr(families, "LOOK", 10)
    monkeypatch.setattr(families, "_loss", lambda *_: next(losses))
    setting = {"lr": 0.05, "noise": 0.1}
    assert families.fit_network(RegressionNetwork, train, setting, 0, held=held).stop == 20


def test_widening_keeps_the_means(families):
    predictive = GaussianPredictive(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]))
    wide = families.widen(predictive, 2.0)
    torch.testing.assert_close(wide.mean, predictive.mean)
    torch.testing.assert_close(wide.scale, 2 * predictive.scale)
