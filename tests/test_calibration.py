"""The calibration error: fifteen bins, the last of them closed."""

import numpy as np
import pytest

from ugmm.calibration import bin_confidences


def test_rows_of_which_it_is_certain_are_in_the_last_bin():
    """Half of the rows at 1, a tenth of them wrong; the others at 0.9608, all right."""
    confidence = np.repeat([1.0, 0.9608], 50).astype(np.float32)
    correct = np.ones(100)
    correct[:5] = 0
    binned = bin_confidences(confidence, correct)
    assert len(binned.rows) == 15
    assert binned.rows[-1] == 100
    assert binned.error == pytest.approx(0.0304, abs=1e-6)


def test_edges_belong_to_the_bin_above_them():
    binned = bin_confidences(np.array([0.0, 0.5, 0.999, 1.0]), np.array([1, 0, 1, 1]), bins=2)
    parts = binned.rows, binned.hits, binned.sure
    assert [part.tolist() for part in parts] == [[1, 3], [1, 2], [0.0, 2.499]]


def test_no_rows_have_no_error():
    assert bin_confidences(np.array([]), np.array([])).error == 0
