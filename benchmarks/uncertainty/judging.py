"""How good posteriors are, and how well what is no digit is told from digits. NumPy only."""

from collections.abc import Callable

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import roc_auc_score

from ugmm.calibration import bin_confidences

__all__ = ["SURENESS", "area_under_risk", "auroc", "false_positives", "judge", "pool", "risks"]


def judge(log_posterior: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return accuracy, nll (nats) and ece of log-posteriors (n, classes) about labels (n,)."""
    right = log_posterior.argmax(1) == labels
    sure = np.exp(log_posterior.max(1))
    nll = -log_posterior[np.arange(len(labels)), labels].mean()
    error = bin_confidences(sure, right).error
    return {"accuracy": float(right.mean()), "nll": float(nll), "ece": error}


def pool(scores: np.ndarray) -> np.ndarray:
    """Return the log of the mean posterior of members: (members, n, classes) to (n, classes)."""
    return logsumexp(log_softmax(scores.astype(np.float64), -1), axis=0) - np.log(len(scores))


def risks(log_posterior: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of mistakes among the k rows that are surest, for each k: (n,)."""
    order = np.argsort(-log_posterior.max(1), kind="stable")
    wrong = (log_posterior.argmax(1) != labels)[order]
    return wrong.cumsum() / np.arange(1, len(wrong) + 1)


def area_under_risk(log_posterior: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of `risks`, the area under the curve of risk against coverage.

    Reference: Y. Geifman, G. Uziel and R. El-Yaniv, arXiv:1805.08206.
    """
    return float(risks(log_posterior, labels).mean())


def _entropy(scores: np.ndarray) -> np.ndarray:
    log_p = log_softmax(scores, -1)
    return (np.exp(log_p) * log_p).sum(-1)


# How sure a network is of rows, by its class scores (n, classes); the more, the surer.
SURENESS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "posterior": lambda scores: log_softmax(scores, -1).max(-1),
    "entropy": _entropy,
    "log-sum": lambda scores: logsumexp(scores, axis=-1),
}


def auroc(known: np.ndarray, foreign: np.ndarray) -> float:
    """Return how often a known row is surer than a foreign one; ties count half."""
    is_known = np.concatenate([np.ones(len(known)), np.zeros(len(foreign))])
    return float(roc_auc_score(is_known, np.concatenate([known, foreign])))


def false_positives(known: np.ndarray, foreign: np.ndarray, kept: float = 0.95) -> float:
    """Return the share of foreign rows that are as sure as the surest `kept` of the known."""
    threshold = np.sort(known)[len(known) - int(np.ceil(kept * len(known)))]
    return float((foreign >= threshold).mean())
