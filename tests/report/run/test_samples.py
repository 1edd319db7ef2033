"""Draws beside data: what is counted, drawn and left out."""

import numpy as np
import pytest

from ugmm.report import image_samples, pair_plot
from ugmm.report.run.samples import draw_contours, image_completions, smooth_counts
from ugmm.report.style import new_figure


def test_contours_hold_their_share_of_the_draws():
    draws = np.random.default_rng(0).normal(size=(20_000, 2))
    axes = new_figure(3, 3, "").subplots()
    axes.set_xlim(-5, 5)
    axes.set_ylim(-5, 5)
    draw_contours(axes, draws, "black")
    outer, inner = (path.vertices for path in axes.collections[0].get_paths())
    # Circles of a standard normal: 1 - exp(-r^2 / 2) of it lies within r.
    assert np.hypot(*outer.T).mean() == pytest.approx((-2 * np.log(0.1)) ** 0.5, rel=0.08)
    assert np.hypot(*inner.T).mean() == pytest.approx((-2 * np.log(0.5)) ** 0.5, rel=0.08)


def test_smoothing_keeps_the_count():
    counts = np.zeros((20, 20))
    counts[10, 10] = 7
    assert smooth_counts(counts).sum() == pytest.approx(7)


@pytest.mark.parametrize(("d", "classes"), [(1, 1), (2, 3), (7, 2)])
def test_pairs_of_features(d, classes):
    generator = np.random.default_rng(0)
    x, draws = generator.normal(size=(30, d)), generator.normal(size=(200, d))
    x[:, 0] = 1.0  # a constant feature
    y, labels = np.arange(30) % classes, np.arange(200) % classes
    figure = pair_plot(x, y, draws, labels, [f"class {c}" for c in range(classes)])
    figure.draw_without_rendering()
    assert len(figure.axes) == min(d, 5) ** 2
    low, high = figure.axes[0].get_xlim()  # shows the draws of a feature that is constant
    assert ((draws[:, 0] > low) & (draws[:, 0] < high)).mean() > 0.97
    assert ("first 5 of 7" in figure.get_suptitle()) == (d == 7)


def test_images_stand_side_by_side():
    figure = image_samples(np.eye(4)[:3], np.eye(4)[:3], (2, 2))
    figure.draw_without_rendering()
    assert [axes.get_title() for axes in figure.axes] == ["data", "draws of the model"]


def test_what_was_not_given_is_left_blank():
    x, draws = np.ones((2, 12)), np.ones((2, 3, 12))
    figure = image_completions(x, draws, (4, 3), lines=1)
    figure.draw_without_rendering()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["data", "given", "the rest as the model drew it"]
    whole, given, drawn = (axes.images[0].get_array().filled(0) for axes in figure.axes)
    assert (whole.sum(), given.sum(), drawn.sum()) == (24, 6, 72)
    assert (given[0] == 1).all()
    assert (given[1:4] == 0).all()
