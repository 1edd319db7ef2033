"""Exponents of a study: against power laws that runs are made of."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ugmm.errors import UserError
from ugmm.report.statistics import Record
from ugmm.report.study.scaling import (
    describe_scaling,
    draw_scaling,
    fit_scaling,
)
from ugmm.report.study.variants import find_counterparts

SIZES = (10, 20, 40, 80)


def make_runs(family, exponent, noise=0.0, seeds=(0, 1, 2)):
    rng = np.random.default_rng(0)
    return [
        Record(
            f"{family} {size}",
            seed,
            None,
            Path("runs"),
            {
                "test/accuracy": 1 - 0.5 * size**exponent * math.exp(noise * rng.normal()),
                "test/nll": 3 * size ** (2 * exponent),
                "parameters": float(size),
                "seconds": 0.1 * size,
            },
        )
        for size in SIZES
        for seed in seeds
    ]


def test_the_exponent_of_a_power_law_is_found():
    runs = make_runs("ugmm", -0.5) + make_runs("mlp", -0.25)
    laws = fit_scaling(runs, "test/accuracy", "parameters")
    assert [law.family for law in laws] == ["ugmm", "mlp"]
    assert [law.exponent for law in laws] == pytest.approx([-0.5, -0.25])
    assert [law.points for law in laws] == [4, 4]
    (law, _) = fit_scaling(runs, "test/nll", "seconds")
    assert law.exponent == pytest.approx(-1)


def test_its_interval_is_that_of_slopes_by_seed():
    runs = make_runs("ugmm", -0.5, noise=0.1)
    (law,) = fit_scaling(runs, "test/accuracy", "parameters")
    slopes = []
    for seed in range(3):
        y = [1 - r.summary["test/accuracy"] for r in runs if r.seed == seed]
        slopes.append(stats.linregress(np.log(SIZES), np.log(y)).slope)
    low, high = stats.t.interval(0.95, 2, np.mean(slopes), stats.sem(slopes))
    assert (law.exponent, law.low, law.high) == pytest.approx((np.mean(slopes), low, high))


def test_what_cannot_be_fitted_is_left_out():
    alone = [run for run in make_runs("mlp", -0.5) if run.variant == "mlp 10"]
    perfect = [run._replace(summary={**run.summary, "test/accuracy": 1.0}) for run in alone]
    assert fit_scaling(alone, "test/accuracy", "parameters") == []
    assert fit_scaling(perfect, "test/accuracy", "parameters") == []
    assert fit_scaling(make_runs("mlp", -0.5), "test/accuracy", "train_rows") == []
    (law,) = fit_scaling(make_runs("mlp", -0.5, seeds=(0,)), "test/accuracy", "parameters")
    assert law.low is None


def test_it_is_said_in_words_and_drawn():
    runs = make_runs("ugmm", -0.5, noise=0.1) + make_runs("mlp", -0.25, seeds=(0,))
    first, second = describe_scaling(runs, "test/accuracy", "parameters")
    assert first.startswith("ugmm: 1 - test/accuracy goes as parameters to the power -0.")
    assert first.endswith("), over 4 sizes.")
    assert second == "mlp: 1 - test/accuracy goes as parameters to the power -0.25, over 4 sizes."
    figure = draw_scaling(runs, "test/accuracy", "parameters", "How it scales")
    left, right = figure.axes
    assert left.get_xscale() == right.get_yscale() == "log"
    assert [line.get_label() for line in left.get_lines()][::2] == ["ugmm", "mlp"]
    np.testing.assert_allclose(left.get_lines()[2].get_ydata(), 0.5 * np.array(SIZES) ** -0.25)
    assert right.get_xlabel() == "seconds of training"


def change(runs, **values):
    return [run._replace(summary={**run.summary, **values}) for run in runs]


def test_points_without_a_logarithm_are_counted_and_none_left_is_refused():
    runs = make_runs("ugmm", -0.5)
    assert len(describe_scaling(runs, "test/accuracy", "parameters")) == 1
    perfect = change(runs[:2], **{"test/accuracy": 1.0}) + runs[2:]
    assert describe_scaling(perfect, "test/accuracy", "parameters")[1:] == [
        "Left out along parameters: 2 of 12 points, where 1 - test/accuracy or parameters is not "
        "above 0 and has no logarithm."
    ]
    with pytest.raises(UserError, match=r"nothing is left .* -test/log_prob above 0"):
        describe_scaling(change(runs, **{"test/log_prob": 2.0}), "test/log_prob", "parameters")


def test_families_of_other_sizes_have_laws_over_their_common_ones_too():
    smallest, rest = make_runs("mlp", -0.25)[:3], make_runs("mlp", -0.25)[3:]
    bent = change(smallest, **{"test/accuracy": 0.1}) + rest
    short = [run for run in make_runs("ugmm", -0.5) if run.variant != "ugmm 10"]
    said = describe_scaling(short + bent, "test/accuracy", "parameters")
    power = "1 - test/accuracy goes as parameters to the power"
    common = "over the 3 sizes that all families have."
    assert said[0] == f"ugmm: {power} -0.50 (-0.50 to -0.50), over 3 sizes."
    assert said[1].startswith(f"mlp: {power} -0.")
    assert "-0.25" not in said[1]
    assert said[2] == f"ugmm: {power} -0.50 (-0.50 to -0.50), {common}"
    assert said[3] == f"mlp: {power} -0.25 (-0.25 to -0.25), {common}"


def test_variants_of_one_size_are_counterparts():
    names = ["ugmm 1", "ugmm 2", "mlp 1", "mlp 2", "mlp 4"]
    assert find_counterparts(names, "ugmm 1") == {"mlp 1": "ugmm 1", "mlp 2": "ugmm 2"}
    assert find_counterparts(names, "mlp 4") == {"ugmm 1": "mlp 1", "ugmm 2": "mlp 2"}
    assert find_counterparts(["ugmm 1", "ugmm 2", "mlp 4"], "ugmm 1") is None


def test_a_metric_that_should_be_large_falls_as_what_it_lacks():
    runs = [
        run._replace(
            summary={
                "parameters": run.summary["parameters"],
                "test/log_prob": -run.summary["test/nll"],
                "test/r2": 1 - run.summary["test/nll"],
            }
        )
        for run in make_runs("ugmm", -0.5)
    ]
    for metric, loss in (("test/log_prob", "-test/log_prob"), ("test/r2", "1 - test/r2")):
        laws = fit_scaling(runs, metric, "parameters")
        assert laws[0].exponent == pytest.approx(-1)
        assert describe_scaling(runs, metric, "parameters")[0].startswith(f"ugmm: {loss} goes as")
