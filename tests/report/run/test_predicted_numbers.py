"""Predicted numbers and their calibration, against what is counted in other ways."""

import numpy as np
import pytest
from scipy.stats import binom

from ugmm.report import predicted_numbers, target_calibration
from ugmm.report.tables import NONE
from ugmm.spec import Target

TARGET = Target("price", unit="$")


def made(n):
    generator = np.random.default_rng(0)
    mean, scale = generator.normal(100, 30, n), generator.uniform(5, 15, n)
    true = mean + scale * generator.normal(size=n)
    return true, mean, mean - 1.2 * scale, mean + 1.2 * scale


def dots(figure):
    """The points by whether their intervals hold the truth."""
    holds, misses, _ = figure.axes[0].get_lines()
    return [np.stack(line.get_data(), -1) for line in (holds, misses)]


def test_rows_are_drawn_by_whether_their_interval_holds_the_truth():
    true, mean, low, high = made(50)
    figure = predicted_numbers(true, mean, low, high, TARGET)
    is_in = (low <= true) & (true <= high)
    for found, chosen in zip(dots(figure), (is_in, ~is_in), strict=True):
        expected = np.stack([true[chosen], mean[chosen]], -1)
        np.testing.assert_allclose(found, expected[np.argsort(expected[:, 0])])
    error = np.sqrt(np.square(true - mean).mean())
    r2 = 1 - error**2 / true.var()
    assert f"R squared {r2:.4f}, root mean squared error {error:.4g}" in figure.get_suptitle()
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true price (\\$)", "predicted price (\\$)")


def test_of_many_rows_some_are_drawn_and_all_are_counted():
    true, mean, low, high = made(2000)
    figure = predicted_numbers(true, mean, low, high, TARGET)
    shown = np.concatenate(dots(figure))
    assert len(shown) == 300
    assert {true.min(), true.max()} < set(shown[:, 0])
    assert "2,000 rows, 300 shown" in figure.get_suptitle()


def test_targets_that_are_all_the_same_have_no_r_squared():
    same = np.ones(3)
    assert f"R squared {NONE}," in predicted_numbers(same, same, same, same, TARGET).get_suptitle()


@pytest.mark.parametrize("n", [7, 90, 3000])
def test_calibration_is_what_is_counted(n):
    pit = np.random.default_rng(1).beta(0.7, 0.7, n)
    figure = target_calibration(pit)
    held = np.mean((pit >= 0.05) & (pit <= 0.95))
    assert figure.get_suptitle() == f"Calibration: 90% intervals hold {held:.2%} of {n:,} rows"
    histogram, coverage = figure.axes
    bars = [patch for patch in histogram.patches if patch.get_facecolor()[-1] == 0.75]
    assert sum(bar.get_height() for bar in bars) == n
    assert {round(bar.get_width() * len(bars), 9) for bar in bars} == {1}
    levels, shares = coverage.get_lines()[1].get_data()
    for level, share in zip(levels[::10], shares[::10], strict=True):
        assert share == pytest.approx(np.mean(np.abs(pit - 0.5) <= level / 2), abs=1e-9 + 1 / n)
    (band,) = coverage.collections
    low, high = binom.interval(0.95, n, 0.5)
    ends = band.get_paths()[0].vertices
    at_half = sorted({round(float(y), 9) for x, y in ends if abs(x - 0.5) < 1e-9})
    assert at_half == pytest.approx([low / n, high / n])
