"""Classes that are Gaussians or mixtures of them: what LDA, QDA and GMM fit, as a network."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ugmm.density import ClassMixture
from ugmm.nn import Density
from ugmm.nn.checks import check_draws, check_positive, check_tensors
from ugmm.nn.evidence import Draws, Evidence, Marginal
from ugmm.nn.labels import count_labels

__all__ = ["GaussianClasses", "Parts"]


class Parts(NamedTuple):
    """The parameters of C classes with K components each, of D features.

    Attributes:
        log_prior: (C,).
        log_weights: (C, K).
        means: (C, K, D).
        trils: The covariances' Cholesky factors, (C, K, D, D).
    """

    log_prior: np.ndarray
    log_weights: np.ndarray
    means: np.ndarray
    trils: np.ndarray


PartsEstimator = Callable[[np.ndarray, np.ndarray, int], Parts]


class GaussianClasses(Density):
    r"""A mixture of Gaussians for each class, fitted by an estimator instead of by gradients.

    .. math::
        p(x, c) = p(c) \sum_{k=1}^{K} w_{ck} \, \mathcal{N}(x; \mu_{ck}, \Sigma_{ck})

    Arguments:
        n_features: D.
        n_classes: C.
        components: K.
        estimate: Fits the parameters to features (n, D), labels (n,) and C.
        free: How many of them it can choose freely.

    Shapes:
        features (..., D); labels (...); results (...), in float64.
    """

    log_prior: Tensor
    log_weights: Tensor
    means: Tensor
    trils: Tensor

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        components: int,
        estimate: PartsEstimator,
        free: int,
    ) -> None:
        super().__init__()
        check_positive(n_features=n_features, n_classes=n_classes, components=components)
        self.n_features, self.n_classes = n_features, n_classes
        self.estimate, self.free = estimate, free
        shape = (n_classes, components)
        eye = torch.eye(n_features, dtype=torch.float64)
        for name, value in {
            "log_prior": torch.full((n_classes,), -math.log(n_classes)),
            "log_weights": torch.full(shape, -math.log(components)),
            "means": torch.zeros(*shape, n_features),
            "trils": eye.expand(*shape, -1, -1).clone(),
        }.items():
            self.register_buffer(name, value.double())

    def n_parameters(self) -> int:
        """Return how many parameters were fitted."""
        return self.free

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit all parameters, which is the whole training.

        Args:
            x: Features, (n, D).
            y: Labels, (n,).

        Raises:
            IndexError: If a label is out of range.
            ValueError: If there are no labels, or none of a class.
        """
        check_tensors(x=x)
        if y is None:
            raise ValueError("Gaussian classes are fitted to features and labels")
        rows = count_labels(y.long(), len(self.log_prior))
        if not rows.all():
            raise ValueError(f"class {int(rows.argmin())} has no row to be fitted to")
        parts = self.estimate(x.double().cpu().numpy(), y.cpu().numpy(), len(self.log_prior))
        for name, value in parts._asdict().items():
            getattr(self, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D) to (..., C)."""
        check_tensors(x=x)
        means, trils = self.means.double(), self.trils.double()
        centred = x.double()[..., None, None, :] - means  # (..., C, K, D)
        white = torch.linalg.solve_triangular(trils, centred.unsqueeze(-1), upper=False)
        log_det = trils.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = log_det + 0.5 * self.means.shape[-1] * math.log(2 * math.pi)
        log_density = -0.5 * white.squeeze(-1).pow(2).sum(-1) - constant
        return (log_density + self.log_weights).logsumexp(-1) + self.log_prior

    def marginal_class_scores(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return log p(x_O, c) where only the features O are known: (..., D) to (..., C).

        Args:
            x: (..., D).
            observed: True where a feature is known, (..., D).
        """
        rows = Evidence(x.flatten(0, -2), observed.flatten(0, -2))
        return self.mixture().class_scores(rows).reshape(*x.shape[:-1], -1)

    def marginal(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:  # noqa: ARG002
        """Return log p of each row's evidence, exactly.

        Raises:
            ValueError: If the evidence is not of these features and classes.
        """
        evidence.check(self.n_features, self.n_classes)
        return self.mixture().marginal(evidence)

    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n exact draws for each row of the evidence.

        Raises:
            ValueError: See `marginal`.
        """
        evidence.check(self.n_features, self.n_classes)
        return self.mixture().draw(evidence, n, generator)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw features (n, D), float64, and labels (n,).

        Args:
            n: Number of draws.
            generator: Source of randomness, on the CPU; by default, torch's own.
        """
        check_draws(n)
        return self.mixture().sample(n, generator)

    def mixture(self) -> ClassMixture:
        """Return all classes' Gaussians as those of one mixture."""
        own = torch.block_diag(*torch.ones_like(self.log_weights)).bool()
        shares = (self.log_weights + self.log_prior.unsqueeze(1)).flatten()
        log_weights = shares.expand(own.shape).masked_fill(~own, -math.inf)
        means, trils = self.means.flatten(0, 1), self.trils.flatten(0, 1)
        return ClassMixture(log_weights.double(), means.double(), trils.double())

    def extra_repr(self) -> str:
        """Describe the classes in `repr`."""
        n_classes, components, n_features = self.means.shape
        text = f"n_features={n_features}, n_classes={n_classes}, components={components}"
        return f"{text}, free={self.free}"
