"""How well confidences are calibrated: the bins of the error that is measured and drawn."""

from dataclasses import dataclass

import numpy as np

__all__ = ["BINS", "Calibration", "bin_confidences"]

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Rows by how sure a classifier is of them, in bins of equal width.

    Attributes:
        rows: How many each bin has, (bins,).
        hits: Those of them that the classifier has right, (bins,).
        sure: The sum of their confidences, (bins,).
    """

    rows: np.ndarray
    hits: np.ndarray
    sure: np.ndarray

    @property
    def error(self) -> float:
        """The mean of |accuracy - mean confidence|, weighted by rows; 0 where there are none."""
        return float(np.abs(self.hits - self.sure).sum() / max(self.rows.sum(), 1))


def bin_confidences(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Calibration:
    """Divide rows among the bins [k/bins, (k+1)/bins), of which the last holds 1 as well.

    Args:
        confidence: The probability of the predicted class, in [0, 1], (n,).
        correct: 1 or True where the predicted class is the true one, (n,).
        bins: How many there are.
    """
    confidence = np.asarray(confidence)
    edges = np.linspace(0, 1, bins + 1, dtype=np.result_type(confidence, np.float32))
    index = np.minimum(np.searchsorted(edges, confidence, side="right"), bins) - 1
    rows, hits, sure = (np.bincount(index, w, bins) for w in (None, correct, confidence))
    return Calibration(rows, hits, sure)
