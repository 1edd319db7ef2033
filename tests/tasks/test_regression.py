"""What is measured of predicted numbers, against NumPy, SciPy and scikit-learn on all rows."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ugmm.nn import RegressionNetwork, UGMMNetwork
from ugmm.objectives import Pinball, RankedProbability
from ugmm.spec import Target
from ugmm.tasks import RegressionTask
from ugmm.tasks.target_measures import split_metrics, update_metrics

TARGET = Target("price", mean=100.0, std=20.0)


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator)
    return x, x[:, 0] + 0.5 * torch.randn(30, generator=generator)


def network(head="heteroscedastic"):
    torch.manual_seed(0)
    return RegressionNetwork(4, (6,), head=head)


def crps(y, mean, scale):
    """By its definition, an integral over the distribution function."""
    below, _ = quad(lambda t: norm.cdf(t, mean, scale) ** 2, -np.inf, y)
    above, _ = quad(lambda t: norm.sf(t, mean, scale) ** 2, y, np.inf)
    return below + above


def test_metrics_are_those_of_all_rows_in_the_users_units(rows, run, monkeypatch):
    monkeypatch.setattr(RegressionTask, "target", TARGET)
    task = RegressionTask(network())
    found = run("test", task, rows)
    with torch.no_grad():
        predicted = task.network.predictive(rows[0])
    mean, scale = (t.double().numpy() for t in (predicted.mean, predicted.scale))
    mean, scale = 100 + 20 * mean, 20 * scale
    y = 100 + 20 * rows[1].double().numpy()
    coverage = (np.abs(y - mean) <= norm.ppf(0.95) * scale).mean()
    expected = {
        "test/r2": r2_score(y, mean),
        "test/rmse": root_mean_squared_error(y, mean),
        "test/mae": mean_absolute_error(y, mean),
        "test/nlpd": -norm.logpdf(y, mean, scale).mean(),
        "test/crps": np.mean(list(map(crps, y, mean, scale))),
        "test/coverage_90": coverage,
    }
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}
    record = {name: column.numpy() for name, column in task.test_record.items()}
    np.testing.assert_allclose(record["true"], y, rtol=1e-6)
    np.testing.assert_allclose(record["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(record["low"], norm.ppf(0.05, mean, scale), rtol=1e-5)
    np.testing.assert_allclose(record["high"], norm.ppf(0.95, mean, scale), rtol=1e-5)
    np.testing.assert_allclose(record["pit"], norm.cdf(y, mean, scale), rtol=1e-4, atol=1e-6)


def test_without_a_data_module_units_are_the_models(rows, run):
    task = RegressionTask(network())
    found = run("validate", task, rows)
    off = rows[1] - task.network.predict(rows[0])
    assert found["val/rmse"] == pytest.approx(off.square().mean().sqrt().item(), rel=1e-5)


def test_how_rows_are_divided_among_ranks_changes_nothing(rows):
    model = network("mixture").double()
    x, y = (tensor.double() for tensor in rows)

    def measured(*parts):
        ranks = []
        for part in parts:
            metrics = split_metrics("val", has_density=True)
            with torch.no_grad():
                update_metrics(metrics, model.predictive(x[part]), y[part])
            ranks.append(metrics)
        for name, metric in ranks[0].items(keep_base=True):
            for state in metric.metric_state:  # as torchmetrics adds up those of several ranks
                setattr(metric, state, sum(getattr(of[name], state) for of in ranks))
        return {name: float(value) for name, value in ranks[0].compute().items()}

    whole = measured(slice(30))
    for parts in ([slice(1), slice(1, 30)], [slice(17), slice(17, 20), slice(20, 30)]):
        assert measured(*parts) == pytest.approx(whole, rel=1e-5)


def test_targets_that_are_all_the_same_have_no_r_squared():
    metrics = split_metrics("val", has_density=False)
    with torch.no_grad():
        update_metrics(metrics, network("quantiles").predictive(torch.zeros(3, 4)), torch.ones(3))
    assert math.isnan(metrics["r2"].compute())
    assert "val/nlpd" not in metrics.compute()


@pytest.mark.parametrize(
    ("head", "objective"),
    [("heteroscedastic", None), ("mixture", RankedProbability()), ("quantiles", Pinball())],
)
def test_it_learns_what_there_is_to_learn(rows, run, head, objective):
    task = RegressionTask(network(head), objective, optimizer={"lr": 0.05})
    before = run("validate", task, rows)
    run("fit", task, rows, max_epochs=40)
    after = run("validate", task, rows)
    assert after["val/crps"] < 0.6 * before["val/crps"]
    assert after["val/r2"] > 0.6
    assert ("val/nlpd" in after) == (head != "quantiles")
    assert torch.equal(task(rows[0]), task.network.predict(rows[0]))


def test_a_network_of_classes_is_refused():
    with pytest.raises(
        TypeError, match=r"network must be a ugmm\.nn\.Regressor, and is a UGMMNet"
    ):
        RegressionTask(UGMMNetwork([4, 3]))
