"""Completions side by side: which columns there are, and what is coloured how."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ugmm.report.run.completions import WARNING, completed_images
from ugmm.report.style import FIRST, INK


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("original", [True, False])
def test_columns_stand_side_by_side(original, mode):
    x, known = np.ones((2, 12)), np.tile(np.arange(12) < 6, (2, 1))
    samples = np.zeros((2, 5, 12))
    samples[:, :, :6], samples[:, :3, 11] = 1, 1
    if not original:
        x[~known] = np.nan
    figure = completed_images(x, known, samples, (4, 3), samples[:, 4] if mode else None, shown=2)
    figure.draw_without_rendering()
    titles = [axes.get_title() for axes in figure.axes]
    expected = ["original"] * original + ["seen", "2 samples", "majority of 5"] + ["mode"] * mode
    assert titles == expected
    assert (figure.get_supxlabel() == WARNING) == mode
    pictures = {
        title: np.asarray(axes.images[0].get_array())[:4]
        for title, axes in zip(titles, figure.axes, strict=True)
    }
    black, blue = to_rgb(INK), to_rgb(FIRST)
    majority, seen = pictures["majority of 5"], pictures["seen"]
    assert np.allclose(majority[:2, :3], black)
    assert np.allclose(majority[3, 2], blue)  # of three samples in five
    assert np.allclose(seen[:2], black)
    assert not np.allclose(seen[2], majority[2])  # what was not seen is no paper
    assert pictures["2 samples"].shape[1] == 3 + 1 + 3
    assert np.allclose(pictures["2 samples"][:, 3], 1)
