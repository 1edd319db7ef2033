"""Losses: what training minimises, and what each needs of the network.

Torch is imported where it is used, and not above: a configuration asks its objective what it
needs, and must answer at once.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ugmm.density import TiltedGaussian
    from ugmm.nn import Classifier, Density, Predictive, QuantilePredictive, Regressor

__all__ = [
    "ClassificationObjective",
    "CrossEntropy",
    "LabelLikelihood",
    "Likelihood",
    "NegativeLogDensity",
    "NegativeScore",
    "Objective",
    "Pinball",
    "RankedProbability",
    "RankingNCE",
    "RegressionObjective",
    "cross_entropy",
    "negative_score",
    "ranking_nce",
]


_COMPLETIONS = 8  # of a row with gaps, at each step


class Objective(ABC):
    """What training minimises; a subclass is one loss.

    Attributes:
        takes_missing: Whether rows may lack values, NaN.
        needs_normalized: Whether the network must be a density that is normalised by
            construction. Else a generative task tilts a Gaussian base by the network's score.
        needs_fixed_score: Whether that score must be a fixed function of its inputs: neither
            dropout nor BatchNorm.
        is_score: Whether it is the paper's log-score, which is no likelihood and is then logged
            beside `log_prob`.
    """

    takes_missing: ClassVar[bool] = True
    needs_normalized: ClassVar[bool] = False
    needs_fixed_score: ClassVar[bool] = False
    is_score: ClassVar[bool] = False

    @abstractmethod
    def loss(self, network: Any, x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features (batch, D) and labels (batch,), a scalar."""

    def claim(self, network: Any, x: "Tensor", loss: "Tensor") -> "Tensor | None":  # noqa: ARG002
        """Return what a loss says of the mean of log p(x, y), in nats, to be verified; or None."""
        return None


class ClassificationObjective(Objective):
    """A loss of the class scores, for a network that tells classes apart."""

    def loss(self, network: "Classifier", x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features (batch, D) and labels (batch,), a scalar."""
        return self.of_scores(network.class_scores(x), y)

    @abstractmethod
    def of_scores(
        self, scores: "Tensor", y: "Tensor", weights: "Tensor | None" = None
    ) -> "Tensor":
        """Return the loss of class scores (batch, classes) and labels (batch,), a scalar.

        Args:
            scores: The class scores.
            y: The labels.
            weights: How much the rows of each class weigh, (classes,); None: all alike. They are
                only handed over where task.class_weights asks for it.
        """


@dataclass(frozen=True)
class CrossEntropy(ClassificationObjective):
    """Cross-entropy of the label; see `cross_entropy`.

    Arguments:
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
    """

    label_smoothing: float = 0.0

    def of_scores(
        self, scores: "Tensor", y: "Tensor", weights: "Tensor | None" = None
    ) -> "Tensor":
        """See `cross_entropy`."""
        return cross_entropy(scores, y, self.label_smoothing, weights)


@dataclass(frozen=True)
class Likelihood(Objective):
    """The mean of -log p(x, y), exact, for a density that is normalised by construction.

    Arguments:
        label_weight: Share of the label's cross-entropy that is added.
    """

    label_weight: float = 0.0

    needs_normalized: ClassVar[bool] = True

    def loss(self, network: "Density", x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features (batch, D) and labels (batch,), a scalar."""
        loss = -network(x, y).mean()
        return _with_label(loss, self.label_weight, lambda: network.class_scores(x), y)


@dataclass(frozen=True)
class NegativeScore(Objective):
    """The paper's: the mean negative log-score of features and label; see `negative_score`.

    It also rewards a network for a larger partition function.

    Arguments:
        label_weight: Share of the label's cross-entropy that is added.
    """

    label_weight: float = 0.0

    is_score: ClassVar[bool] = True
    takes_missing: ClassVar[bool] = False

    def loss(self, network: "TiltedGaussian", x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features (batch, D) and labels (batch,), a scalar."""
        loss = negative_score(network.score(x, y))
        return _with_label(loss, self.label_weight, lambda: network.score.class_scores(x), y)


@dataclass(frozen=True)
class LabelLikelihood(Objective):
    """The cross-entropy of the label given the features, and nothing else, of a joint score."""

    takes_missing: ClassVar[bool] = False

    def loss(self, network: "TiltedGaussian", x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features (batch, D) and labels (batch,), a scalar."""
        return cross_entropy(network.score.class_scores(x), y)


@dataclass(frozen=True)
class RankingNCE(Objective):
    """The tilted Gaussian's; see `ranking_nce`.

    A row with values missing counts as what is known of it: what it lacks is drawn 8 times, see
    `ugmm.density.TiltedGaussian.known_scores`.

    Arguments:
        n_noise: M, drawn afresh from the density's proposal at every step.
        label_weight: Share of the label's cross-entropy that is added.
    """

    n_noise: int = 512
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.n_noise < 1:
            raise ValueError(f"n_noise must be at least 1, got {self.n_noise}")

    needs_fixed_score: ClassVar[bool] = True

    def loss(self, network: "TiltedGaussian", x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features (batch, D) and labels (batch,), a scalar."""
        import torch

        from ugmm.nn.labels import pick_scores
        from ugmm.ranks import any_rank

        if network.missing and any_rank(x.isnan().any()):
            return self._loss_of_gaps(network, x, y)
        with torch.no_grad():
            draws = network.proposal.sample(self.n_noise)
            ratio = network.log_ratio(torch.cat([x.double(), draws])).to(x.dtype)
        scores = network.score.class_scores(torch.cat([x, draws.to(x.dtype)]))
        both = scores.logsumexp(-1) + ratio
        own = scores[: len(x)]
        loss = ranking_nce(pick_scores(own, y), both[: len(x)], both[len(x) :])
        return _with_label(loss, self.label_weight, lambda: own, y)

    def _loss_of_gaps(self, network: "TiltedGaussian", x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features of which some are missing."""
        from ugmm.nn.labels import pick_scores

        draws = network.proposal.sample(self.n_noise)
        noise = network.log_weight(draws).to(x.dtype)
        # Draws of the label's own class would tell the label.
        seen = network.known_scores(x, _COMPLETIONS, None if self.label_weight else y)
        both = seen.tilt.logsumexp(-1) + seen.log_ratio.to(x.dtype)
        loss = ranking_nce(pick_scores(seen.tilt, y), both, noise)
        return _with_label(loss, self.label_weight, lambda: seen.tilt, y)

    def claim(self, network: "TiltedGaussian", x: "Tensor", loss: "Tensor") -> "Tensor | None":
        """Return what a loss says of the mean of log p(x, y), in nats."""
        return None if self.label_weight else network.log_base(x).mean() - loss


class RegressionObjective(Objective):
    """A loss of the distributions that a network predicts of its targets.

    Attributes:
        needs: What the distributions must be able to tell: "density", "quantiles", or nothing.
    """

    needs: ClassVar[Literal["", "density", "quantiles"]] = ""

    def loss(self, network: "Regressor", x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of features (batch, D) and targets (batch,), a scalar."""
        return self.of_predictive(network.predictive(x), y)

    @abstractmethod
    def of_predictive(self, predictive: Any, y: "Tensor") -> "Tensor":
        """Return the loss of predictions for a batch and targets (batch,), a scalar."""


@dataclass(frozen=True)
class NegativeLogDensity(RegressionObjective):
    """The mean of -log p(y | x): maximum likelihood."""

    needs = "density"

    def of_predictive(self, predictive: "Predictive", y: "Tensor") -> "Tensor":
        """Return the mean negative log-density, in nats."""
        return -predictive.log_prob(y).mean()


@dataclass(frozen=True)
class RankedProbability(RegressionObjective):
    """The mean of the continuous ranked probability score; see `ugmm.nn.Predictive.crps`.

    Rows far from what was predicted weigh less in it than in the log-density.
    """

    def of_predictive(self, predictive: "Predictive", y: "Tensor") -> "Tensor":
        """Return the mean score, in the targets' units."""
        return predictive.crps(y).mean()


@dataclass(frozen=True)
class Pinball(RegressionObjective):
    """The mean of the pinball loss; see `ugmm.nn.QuantilePredictive.pinball`."""

    needs = "quantiles"

    def of_predictive(self, predictive: "QuantilePredictive", y: "Tensor") -> "Tensor":
        """Return the mean loss, in the targets' units."""
        return predictive.pinball(y).mean()


def cross_entropy(
    scores: "Tensor",
    y: "Tensor",
    label_smoothing: float = 0.0,
    weights: "Tensor | None" = None,
) -> "Tensor":
    r"""Return the mean of :math:`-w_y \log \operatorname{softmax}(\text{scores})_y`, a scalar.

    The mean is over the rows, whatever they weigh: it is not divided by the sum of a batch's
    weights, which would make the same row count more beside others of small weight.

    Args:
        scores: Log-scores of the classes, (batch, classes).
        y: Labels, (batch,), int64.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
        weights: :math:`w`, (classes,), by which a row's whole loss is multiplied; None: 1.

    Raises:
        IndexError: If a label is out of range.
    """
    from torch import iinfo, int64
    from torch.nn import functional as F

    # By default torch leaves out rows with the label -100; nobody has this one.
    nobody = iinfo(int64).min
    if weights is None:
        return F.cross_entropy(scores, y, ignore_index=nobody, label_smoothing=label_smoothing)
    losses = F.cross_entropy(
        scores, y, ignore_index=nobody, reduction="none", label_smoothing=label_smoothing
    )
    return (weights[y] * losses).mean()


def negative_score(scores: "Tensor") -> "Tensor":
    """Return the paper's generative objective, the mean negative log-score, a scalar.

    It is not a negative log-likelihood: the score is not normalised (see `ugmm.nn.UGMM`).

    Args:
        scores: Log-scores of features and label together, (batch,).
    """
    return -scores.mean()


def ranking_nce(scores: "Tensor", own: "Tensor", noise: "Tensor") -> "Tensor":
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
    import torch

    log_z = torch.logaddexp(own, noise.logsumexp(0)) - math.log(len(noise) + 1)
    return (log_z - scores).mean()


def _with_label(
    loss: "Tensor", weight: float, scores: "Callable[[], Tensor]", y: "Tensor"
) -> "Tensor":
    """Add a share of the label's cross-entropy; the scores are only computed if there is one."""
    return loss + weight * cross_entropy(scores(), y) if weight else loss
