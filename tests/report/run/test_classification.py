"""Confusions and calibration, against values found in other ways."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from ugmm.report import confusion_matrix, reliability_diagram


def _title(figure):
    return figure.get_suptitle()


@pytest.mark.parametrize("classes", [1, 3, 10])
def test_confusion_cells_and_title_are_the_counts(classes):
    counts = np.random.default_rng(0).integers(0, 1200, (classes, classes))
    figure = confusion_matrix(counts, [f"class {c}" for c in range(classes)])
    axes = figure.axes[0]
    cells = {text.get_position(): int(text.get_text()) for text in axes.texts}
    assert cells == {(c, r): counts[r, c] for r in range(classes) for c in range(classes)}
    assert f"{sum(counts.diagonal()) / counts.sum():.2%}" in _title(figure)
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert axes.get_ylabel() == "true class"


def test_confusion_of_nothing_and_of_an_absent_class():
    assert "no samples" in _title(confusion_matrix(torch.zeros(3, 3, dtype=torch.int64), "abc"))
    figure = confusion_matrix([[5, 0], [0, 0]], ["here", "absent"])
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), [[1, 0], [0, 0]])


def _ece(confidence, correct, bins):
    """The definition, a bin at a time; the last one holds confidence 1 as well."""
    edges = [*np.linspace(0, 1, bins + 1)[:-1], np.inf]
    error = 0.0
    for low, high in pairwise(edges):
        inside = (low <= confidence) & (confidence < high)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


def _shown_ece(figure):
    return float(re.search(r"ECE ([\d.]+)", _title(figure))[1])


@pytest.mark.parametrize("bins", [5, 15])
def test_ece_is_by_definition(bins):
    rng = np.random.default_rng(1)
    confidence = np.append(rng.random(200), np.ones(30))
    correct = rng.random(230) < confidence**2
    figure = reliability_diagram(confidence, correct, bins)
    assert _shown_ece(figure) == pytest.approx(_ece(confidence, correct, bins), abs=5.1e-5)


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 300.0])  # 300: nearly all confidences are 1
def test_the_picture_shows_the_error_that_is_measured(sharpness):
    from ugmm.tasks.measures import split_metrics, update_metrics

    generator = torch.Generator().manual_seed(0)
    scores = sharpness * torch.randn(500, 10, generator=generator)
    labels = torch.randint(10, (500,), generator=generator)
    metrics = split_metrics("test")
    update_metrics(metrics, scores, labels)
    confidence, predicted = scores.softmax(-1).max(-1)
    figure = reliability_diagram(confidence, predicted == labels)
    assert _shown_ece(figure) == pytest.approx(float(metrics["ece"].compute()), abs=5.1e-5)


def test_the_bars_are_the_bins():
    confidence = np.array([0.1, 0.15, 0.55, 0.9, 1.0])
    figure = reliability_diagram(confidence, [1, 0, 1, 1, 0], bins=2)
    upper, lower = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], [2, 3])
    gaps = [bar for bar in upper.patches if bar.get_hatch()]
    np.testing.assert_allclose([bar.get_y() for bar in gaps], [0.125, 2 / 3])
    ends = [bar.get_y() + bar.get_height() for bar in gaps]
    np.testing.assert_allclose(ends, [0.5, 2.45 / 3])


@pytest.mark.parametrize("confidence", [[], [1.0], [0.0], [1, 0], [0.5] * 4])
def test_reliability_of_few_samples_draws(confidence):
    figure = reliability_diagram(confidence, [True] * len(confidence))
    figure.draw_without_rendering()
    assert ("no samples" in _title(figure)) == (not confidence)


def test_the_interval_of_the_accuracy_is_that_of_scipy():
    from scipy.stats import binomtest

    figure = reliability_diagram(np.full(20, 0.7), [1] * 17 + [0] * 3)
    (interval,) = [c for c in figure.axes[0].collections if "interval" in c.get_label()]
    expected = binomtest(17, 20).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(interval.get_segments()[0][:, 1], expected, atol=1e-4)
