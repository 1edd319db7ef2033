"""Generative classifiers to compare with: Gaussians, mixtures, kernels, normalising flows.

A baseline is a dataclass whose fields are its hyper-parameters. `fit` takes features (n, D) and
labels (n,), and returns log p(x, c) as a function: (m, D) to (m, C), float64, the class prior
included. Every class needs rows. Nothing here imports scikit-learn or torch before `fit`.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from ugmm.errors import UserError
from ugmm.experiment.keys import key

if TYPE_CHECKING:
    from ugmm.nn.gaussian_classes import Parts

__all__ = ["BASELINES", "Estimator", "LogJoint"]

LogJoint = Callable[[np.ndarray], np.ndarray]


class Estimator(Protocol):
    """What can be cross-validated."""

    @property
    def normalized(self) -> bool:
        """Whether the fitted function is a log-density, or only ranks the classes."""

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """Return log p(x, c) of features (n, D) float64 and labels (n,) from 0 to C - 1."""


class Baseline:
    """What all baselines share."""

    normalized: ClassVar[bool] = True

    def check(self) -> None:
        """Raise UserError if a package is missing."""

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`."""
        raise NotImplementedError


@dataclass
class LDA(Baseline):
    """Gaussian classes of one covariance, shrunk towards a multiple of the identity."""

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
    """Gaussian classes, each covariance (1 - reg) S + reg I, S without bias."""

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

    components: int = key(2, low=1)
    covariance: Literal["full", "tied", "diag", "spherical"] = "full"
    reg_covar: float = key(1e-2, low=0)  # added to the diagonal of each covariance

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`."""
        return _log_joint(self.parts(x, y, n_classes, seed))

    def parts(
        self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int | None = None
    ) -> "Parts":
        """Return the classes' parameters; without a seed, EM starts by NumPy's own generator."""
        from sklearn.mixture import GaussianMixture

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
    """A Gaussian kernel on every row, of one width for all features."""

    bandwidth: float = key(0.3, above=0)

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:  # noqa: ARG002
        """See `Estimator.fit`."""
        from sklearn.neighbors import KernelDensity

        parts = [
            KernelDensity(bandwidth=self.bandwidth).fit(x[y == c]).score_samples
            for c in range(n_classes)
        ]
        return _with_prior(parts, y, n_classes)


@dataclass
class Flow(Baseline):
    """A normalising flow of zuko, conditioned on the one-hot class; its own kind is a subclass.

    Trained by full-batch Adam with a cosine schedule on rows with fresh vicinal noise.
    """

    noise: float = key(0.3, low=0)  # h: the noise is N(0, h^2 S_w), see ugmm.density.VicinalNoise
    transforms: int = key(3, low=1)
    hidden: list[int] = key([32, 32], low=1)
    steps: int = key(500, low=1)
    lr: float = key(5e-3, above=0)

    kind: ClassVar[str] = ""
    extra: ClassVar[dict[str, Any]] = {}

    def check(self) -> None:
        """Raise UserError if zuko is missing."""
        if importlib.util.find_spec("zuko") is None:
            raise UserError(
                f"baseline {self.kind.lower()} needs zuko; install it with: pip install zuko, or "
                "leave the model out"
            )

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`."""
        self.check()
        import torch
        import zuko

        rows, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
        codes = torch.eye(n_classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            flow = getattr(zuko.flows, self.kind)(
                x.shape[1],
                n_classes,
                transforms=self.transforms,
                hidden_features=self.hidden,
                **self.extra,
            )
            self._train(flow, rows, labels, codes)
        prior = _log_prior(y, n_classes)

        @torch.no_grad()
        def log_joint(x: np.ndarray) -> np.ndarray:
            rows = torch.tensor(x, dtype=torch.float32).unsqueeze(1)
            values = flow(codes.expand(len(rows), -1, -1)).log_prob(rows.expand(-1, n_classes, -1))
            return values.double().numpy() + prior

        return log_joint

    def _train(self, flow: Any, x: Any, y: Any, codes: Any) -> None:
        import torch

        from ugmm.density import VicinalNoise

        noise = VicinalNoise(x.shape[1], self.noise)
        noise.fit(x, y)
        optimizer = torch.optim.Adam(flow.parameters(), lr=self.lr, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            optimizer.zero_grad()
            (-flow(codes[y]).log_prob(noise(x)).mean()).backward()
            optimizer.step()
            schedule.step()


@dataclass
class MAF(Flow):
    """Masked autoregressive flow (Papamakarios et al., arXiv:1705.07057)."""

    kind: ClassVar[str] = "MAF"


@dataclass
class NSF(Flow):
    """Neural spline flow (Durkan et al., arXiv:1906.04032)."""

    kind: ClassVar[str] = "NSF"
    extra: ClassVar[dict[str, Any]] = {"bins": 8}


BASELINES: dict[str, type[Baseline]] = {
    "lda": LDA,
    "qda": QDA,
    "gmm": GMM,
    "kde": KDE,
    "maf": MAF,
    "nsf": NSF,
}


def _parts(
    y: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    log_weights: np.ndarray | None = None,
) -> "Parts":
    """Join means (C, K, D) and covariances (C, K, D, D); LinAlgError if one is degenerate."""
    from ugmm.nn.gaussian_classes import Parts

    if log_weights is None:
        log_weights = np.zeros(means.shape[:2])
    return Parts(_log_prior(y, len(means)), log_weights, means, np.linalg.cholesky(covariances))


def _log_joint(parts: "Parts") -> LogJoint:
    """Return log p(x, c) of Gaussian classes."""
    import torch

    from ugmm.nn.gaussian_classes import GaussianClasses

    n_classes, components, n_features = parts.means.shape
    model = GaussianClasses(n_features, n_classes, components, lambda *_: parts, free=0)
    model.init_from(torch.empty(0, n_features), torch.empty(0))
    return lambda x: model.class_scores(torch.from_numpy(x)).numpy()


def _triangle(n: int) -> int:
    """How many numbers a symmetric matrix holds."""
    return n * (n + 1) // 2


def _log_prior(y: np.ndarray, n_classes: int) -> np.ndarray:
    return np.log(np.bincount(y, minlength=n_classes) / len(y))


def _with_prior(parts: list[LogJoint], y: np.ndarray, n_classes: int) -> LogJoint:
    """Join the densities of the classes with their frequencies."""
    prior = _log_prior(y, n_classes)
    return lambda x: np.stack([part(x) for part in parts], axis=1) + prior
