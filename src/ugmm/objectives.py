"""Losses."""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["cross_entropy", "negative_score"]


def cross_entropy(scores: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    r"""Return the mean of :math:`-\log \operatorname{softmax}(\text{scores})_y`, a scalar.

    Args:
        scores: Log-scores of the classes, (batch, classes).
        y: Labels, (batch,), int64.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
    """
    return F.cross_entropy(scores, y, label_smoothing=label_smoothing)


def negative_score(scores: Tensor) -> Tensor:
    """Return the paper's generative objective, the mean negative log-score, a scalar.

    It is not a negative log-likelihood: the score is not normalised (see `ugmm.nn.UGMM`).

    Args:
        scores: Log-scores of features and label together, (batch,).
    """
    return -scores.mean()
