"""Gaussian classes, mixtures and kernels, fitted by scikit-learn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ugmm.baselines.estimators import Baseline, LogJoint, log_prior
from ugmm.keys import key

if TYPE_CHECKING:
    from ugmm.baselines.gaussian_classes import Parts

__all__ = ["GMM", "KDE", "LDA", "QDA"]


@dataclass
class LDA(Baseline):
    """Gaussian classes that share one covariance, shrunk towards a multiple of the identity."""

    shrinkage: float = key(0.0, low=0, high=1)

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:  # noqa: ARG002
        """See `Estimator.fit`."""
        return _log_joint(self.parts(x, y, n_classes))

    def parts(self, x: np.ndarray, y: np.ndarray, n_classes: int) -> "Parts":
        """Return the classes' parameters."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage).fit(x, y)
        shared = np.broadcast_to(lda.covariance_, (n_classes, 1, *lda.covariance_.shape))
        return _parts(y, lda.means_[:, None], shared)

    def free(self, n_features: int, n_classes: int) -> int:
        """Return the number of parameters: means, one covariance, the classes' shares."""
        return n_classes * n_features + _triangle(n_features) + n_classes - 1


@dataclass
class QDA(Baseline):
    """Gaussian classes with covariances (1 - reg) S + reg I, S being unbiased."""

    reg: float = key(0.0, low=0, high=1)

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:  # noqa: ARG002
        """See `Estimator.fit`."""
        return _log_joint(self.parts(x, y, n_classes))

    def parts(self, x: np.ndarray, y: np.ndarray, n_classes: int) -> "Parts":
        """Return the classes' parameters."""
        groups = [x[y == c] for c in range(n_classes)]
        eye = self.reg * np.eye(x.shape[1])
        shrunk = [(1 - self.reg) * np.atleast_2d(np.cov(rows.T)) + eye for rows in groups]
        means = np.stack([rows.mean(0) for rows in groups])
        return _parts(y, means[:, None], np.stack(shrunk)[:, None])

    def free(self, n_features: int, n_classes: int) -> int:
        """Return the number of parameters: means, covariances, the classes' shares."""
        return n_classes * (n_features + _triangle(n_features)) + n_classes - 1


@dataclass
class GMM(Baseline):
    """A Gaussian mixture for each class, fitted by EM."""

    components: int = key(2, low=1, high=10_000)
    covariance: Literal["full", "tied", "diag", "spherical"] = "full"
    reg_covar: float = key(1e-2, low=0, high=10**6)  # added to the diagonal of each covariance

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`."""
        return _log_joint(self.parts(x, y, n_classes, seed))

    def parts(
        self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int | None = None
    ) -> "Parts":
        """Return the classes' parameters; without a seed, EM starts from NumPy's global state.

        Raises:
            ValueError: If a class has too few rows.
        """
        from sklearn.mixture import GaussianMixture

        fewest = min(int((y == c).sum()) for c in range(n_classes))
        if fewest < (needed := max(2, self.components)):
            raise ValueError(
                f"components={self.components}: a class has {fewest} training row(s), and needs "
                f"{needed}; set fewer components, or give more rows"
            )
        fitted = [
            GaussianMixture(
                self.components,
                covariance_type=self.covariance,
                reg_covar=self.reg_covar,
                random_state=seed,
            ).fit(x[y == c])
            for c in range(n_classes)
        ]
        shape = (self.components, x.shape[1], x.shape[1])
        covariances = [np.broadcast_to(self._full(g.covariances_, x), shape) for g in fitted]
        log_weights = np.log(np.stack([g.weights_ for g in fitted]))
        means = np.stack([g.means_ for g in fitted])
        return _parts(y, means, np.stack(covariances), log_weights)

    def _full(self, covariances: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return covariances of any type as matrices, (K, D, D) or (D, D)."""
        if self.covariance in ("full", "tied"):
            return covariances
        return covariances.reshape(len(covariances), -1, 1) * np.eye(x.shape[1])

    def free(self, n_features: int, n_classes: int) -> int:
        """Return the number of parameters: means, covariances, weights, the classes' shares."""
        k = self.components
        covariances = {
            "full": k * _triangle(n_features),
            "tied": _triangle(n_features),
            "diag": k * n_features,
            "spherical": k,
        }[self.covariance]
        return n_classes * (k * n_features + covariances + k - 1) + n_classes - 1


@dataclass
class KDE(Baseline):
    """A Gaussian kernel on every row, with one bandwidth for all features."""

    bandwidth: float = key(0.3, above=0, high=1000)

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:  # noqa: ARG002
        """See `Estimator.fit`."""
        from sklearn.neighbors import KernelDensity

        parts = [
            KernelDensity(bandwidth=self.bandwidth).fit(x[y == c]).score_samples
            for c in range(n_classes)
        ]
        prior = log_prior(y, n_classes)
        return lambda x: np.stack([part(x) for part in parts], axis=1) + prior


def _parts(
    y: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    log_weights: np.ndarray | None = None,
) -> "Parts":
    """Return the parameters of classes.

    Args:
        y: Labels, (n,), whose shares are the prior.
        means: (C, K, D).
        covariances: (C, K, D, D).
        log_weights: (C, K); by default 0, for one component.

    Raises:
        LinAlgError: If a covariance is degenerate.
    """
    from ugmm.baselines.gaussian_classes import Parts

    if log_weights is None:
        log_weights = np.zeros(means.shape[:2])
    return Parts(log_prior(y, len(means)), log_weights, means, np.linalg.cholesky(covariances))


def _log_joint(parts: "Parts") -> LogJoint:
    """Return log p(x, c) of classes with these parameters, as a function."""
    import torch

    from ugmm.baselines.gaussian_classes import GaussianClasses

    n_classes, components, n_features = parts.means.shape
    model = GaussianClasses(n_features, n_classes, components, lambda *_: parts, free=0)
    model.init_from(torch.empty(n_classes, n_features), torch.arange(n_classes))
    return lambda x: model.class_scores(torch.from_numpy(x)).numpy()


def _triangle(n: int) -> int:
    """Return how many numbers an (n, n) symmetric matrix holds."""
    return n * (n + 1) // 2
