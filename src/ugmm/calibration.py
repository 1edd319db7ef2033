"""How well confidences are calibrated: the bins of the error that is measured, and its remedy."""

from dataclasses import dataclass

import numpy as np

__all__ = ["BINS", "Calibration", "bin_confidences", "fit_temperature"]

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


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    r"""Return the temperature T with which posteriors softmax(scores / T) suit the labels best.

    It minimises the mean of :math:`-\log \operatorname{softmax}(s / T)_y`, a convex function of
    1/T, between e^-4 and e^4. To be fitted on rows that were not trained on.

    Args:
        scores: Of the classes, up to a constant a row, (n, C).
        labels: The true classes, (n,).

    Raises:
        ValueError: If there are no rows, or scores that are no numbers.

    Reference:
        C. Guo et al., *On calibration of modern neural networks*, arXiv:1706.04599.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    scores = np.asarray(scores, dtype=np.float64)
    if not len(scores) or np.isnan(scores).any():
        raise ValueError("a temperature is fitted to rows of scores, none of them NaN")
    # Less than e^-700 is nothing at any of these temperatures, and -inf has no multiple by 0.
    scores = np.maximum(scores - scores.max(1, keepdims=True), -1e5)
    true = scores[np.arange(len(scores)), labels]

    def loss(log_t: float) -> float:
        inverse = np.exp(-log_t)
        return float(np.mean(logsumexp(scores * inverse, axis=1) - true * inverse))

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))
