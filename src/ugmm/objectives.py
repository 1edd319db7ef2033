"""Losses."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cross_entropy", "negative_score", "ranking_nce"]


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


def ranking_nce(scores: Tensor, own: Tensor, noise: Tensor) -> Tensor:
    r"""Return the self-included ranking objective of a density given up to a factor, a scalar.

    With :math:`\tilde p(x, y) = b(x) \exp f(x, y)`, a proposal q, and
    :math:`u(x) = \log \sum_c \tilde p(x, c) - \log q(x)`,

    .. math::
        \ell_i = -f(x_i, y_i)
            + \log\Big( e^{u(x_i)} + \sum_{m=1}^{M} e^{u(x_m)} \Big) - \log(M + 1),
        \qquad x_m \sim q

    estimates :math:`-\log p(x_i, y_i) + \log b(x_i)`. As the datum is among the candidates, what
    is claimed of it is at most :math:`\log q(x_i) + \log(M + 1)`: it cannot run away.

    M. Gutmann and A. Hyvärinen, AISTATS 2010; Z. Ma and M. Collins, EMNLP 2018 (ranking).

    Args:
        scores: :math:`f(x_i, y_i)`, (batch,).
        own: :math:`u(x_i)`, (batch,).
        noise: :math:`u(x_m)`, (M,).
    """
    log_z = torch.logaddexp(own, noise.logsumexp(0)) - math.log(len(noise) + 1)
    return (log_z - scores).mean()
