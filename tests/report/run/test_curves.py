"""Training curves of runs whole, short and broken."""

import math

import numpy as np
import pytest

from ugmm.report import training_curves
from ugmm.report.run.curves import find_steps_per_epoch, running_mean
from ugmm.spec import Target


def _run(epochs=3, steps=40, **validation):
    rows = [
        {"epoch": s // steps, "step": s, "train/loss": 1 / (s + 1), "lr": 0.01, "val/nll": None}
        for s in range(epochs * steps)
    ]
    ends = [{"epoch": e, "step": (e + 1) * steps - 1, **validation} for e in range(epochs)]
    return rows + ends


def _panels(figure):
    return {axes.get_ylabel(): axes for axes in figure.axes}


def _line(axes, label):
    (line,) = [x for x in axes.get_lines() if str(x.get_label()).startswith(label)]
    return line


def test_a_classifier_compares_loss_and_nll_and_marks_the_best():
    rows = _run(**{"val/nll": 0.5, "val/accuracy": 0.9})
    rows[-2]["val/accuracy"] = 0.95
    panels = _panels(training_curves(rows, "run"))
    loss, accuracy, rate = panels.values()
    assert list(panels) == ["cross-entropy (nats, log scale)", "accuracy (%)", "learning rate"]
    np.testing.assert_array_equal(_line(loss, "validation").get_xdata(), [39, 79, 119])
    np.testing.assert_allclose(_line(loss, "validation").get_ydata(), 0.5)
    assert "best 95 at epoch 2" in _line(accuracy, "validation").get_label()
    assert len(rate.get_lines()[0].get_xdata()) == 120


def test_a_generative_loss_is_kept_apart_from_the_nll():
    rows = _run(**{"val/nll": 0.5, "val/score": 3.0})
    panels = _panels(training_curves(rows, "run"))
    score = panels["negative log-score (nats, not normalised)"]
    assert set(_line(score, "validation").get_ydata()) == {-3.0}
    assert len(panels["NLL of the label (nats)"].get_lines()[0].get_xdata()) in (1, 3)
    together = _panels(training_curves(rows, "run", loss_is_nll=True))
    assert "cross-entropy (nats, log scale)" in together


@pytest.mark.parametrize("likely", ["val/nlpd", "val/crps"])
def test_a_number_has_its_metrics_in_its_units(likely):
    rows = _run(**{likely: 5.0, "val/rmse": 30.0, "val/coverage_90": 0.875})
    panels = _panels(training_curves(rows, "run", target=Target("price", unit="$")))
    first, shown, error, coverage, rate = panels
    assert (first, rate) == ("objective, of standardised targets", "learning rate")
    assert shown == {"val/nlpd": "-log p(y | x) (nats)"}.get(likely, "CRPS of price (\\$)")
    assert error == "root mean squared error of price (\\$)"
    assert set(_line(panels[coverage], "validation").get_ydata()) == {87.5}


def test_a_density_shows_what_was_claimed_beside_what_was_verified():
    rows = _run(**{"val/log_prob": -3.0, "train/claimed": -1.0, "train/log_prob": -2.0})
    panels = _panels(training_curves(rows, "run"))
    density = panels["log p(x, y) (nats)"]
    labels = ("training, as the loss claims", "training, verified", "validation")
    for label, value in zip(labels, (-1, -2, -3), strict=True):
        assert set(_line(density, label).get_ydata()) == {value}
    assert "objective" in panels


def test_a_resumed_run_shows_the_later_of_two_values():
    rows = [{"epoch": 0, "step": s, "val/nll": 1.0} for s in (0, 1, 2)]
    rows += [{"epoch": 0, "step": s, "val/nll": 2.0} for s in (1, 2, 3)]
    (axes,) = training_curves(rows, "run").axes
    np.testing.assert_array_equal(_line(axes, "validation").get_ydata(), [1, 2, 2, 2])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_leave_a_gap_and_are_counted(bad):
    rows = _run()
    for row in rows[50:55]:
        row["train/loss"] = bad
    figure = training_curves(rows, "run")
    figure.draw_without_rendering()
    line = _line(figure.axes[0], "training")
    assert "5 not finite" in line.get_label()
    assert np.isnan(line.get_ydata()[50:55]).all()
    assert np.isnan(line.get_ydata()).sum() == 5


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"epoch": 0, "step": 0}],
        [{"epoch": 0, "step": 0, "train/loss": 1.0}],
        [{"epoch": 0, "step": 0, "train/loss": math.nan, "val/accuracy": math.nan}],
        [{"epoch": None, "step": 5, "val/nll": 0.0}, {"epoch": 1, "step": 9, "val/nll": -1.0}],
        [{"epoch": 0, "step": 9, "lr/means": 0.1, "lr/scales": 0.1}],
    ],
)
def test_next_to_nothing_still_draws(rows):
    training_curves(rows, "run").draw_without_rendering()


def test_the_smoothed_line_is_a_mean_that_keeps_straight_lines_straight():
    values = np.random.default_rng(0).normal(size=50)
    smooth = running_mean(values, 7)
    assert smooth[20] == pytest.approx(values[17:24].mean())
    assert smooth[1] == pytest.approx(values[:3].mean())
    assert smooth[-1] == pytest.approx(values[-4:].mean())
    np.testing.assert_allclose(running_mean(np.arange(9.0), 5)[:7], np.arange(7))


@pytest.mark.parametrize(("epochs", "steps"), [(1, 7), (2, 5), (20, 235), (300, 1)])
def test_steps_per_epoch_are_found(epochs, steps):
    assert find_steps_per_epoch(_run(epochs, steps)) == steps
    assert find_steps_per_epoch(_run(epochs, steps)[:-1]) == steps
