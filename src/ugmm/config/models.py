"""The models that an experiment can choose, like the rest of `ugmm.config.schema`."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from ugmm.baselines import GMM, LDA, QDA
from ugmm.errors import UserError
from ugmm.keys import key, options

if TYPE_CHECKING:
    from ugmm.nn import Classifier

__all__ = [
    "AutoregressiveConfig",
    "BernoulliMixtureConfig",
    "CircuitConfig",
    "GMMConfig",
    "LDAConfig",
    "MLPConfig",
    "ModelConfig",
    "QDAConfig",
    "UGMMConfig",
]


@dataclass
class ModelConfig:
    """A network; `hidden` are the widths between inputs and outputs."""

    name: str = key()
    hidden: list[int] = key([128, 64], low=1)

    # Whether it is normalised by construction and can be trained by its likelihood, and whether
    # to tell classes apart; no keys.
    is_density = False
    is_classifier = True
    is_fitted = False  # whether it is fitted at once, by task=fitted; no key

    def build(self, n_in: int, n_out: int) -> "Classifier":
        """Return the network."""
        raise NotImplementedError


@dataclass
class UGMMConfig(ModelConfig):
    """A network of mixture neurons; see `ugmm.nn.UGMMNetwork`."""

    name: str = "ugmm"
    dropout: float | int | list[float | int] = key(0.0, low=0, below=1)
    input_dropout: float = key(0.0, low=0, below=1)
    norm: Literal["none", "layer", "batch"] = "none"
    init: Literal["unit", "paper", "data"] = "unit"
    min_scale: float = key(1e-3, low=0)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"

    def build(self, n_in: int, n_out: int) -> "Classifier":
        """Return the network."""
        from ugmm.nn import UGMMNetwork

        keywords = options(self)
        return UGMMNetwork([n_in, *keywords.pop("hidden"), n_out], **keywords)


@dataclass
class AutoregressiveConfig(ModelConfig):
    """A density that is normalised by construction; see `ugmm.nn.AutoregressiveUGMM`."""

    name: str = "autoregressive"
    head: Literal["gaussian", "bernoulli"] = "gaussian"
    components: int = key(4, low=1)  # of the Gaussian head
    positions: int | None = key(None, low=1)  # conditionals a training step; null: all
    dropout: float = key(0.0, low=0, below=1)
    init: Literal["unit", "data"] = "unit"
    min_scale: float = key(1e-3, low=0)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"

    is_density = True
    is_classifier = False

    def build(self, n_in: int, n_out: int) -> "Classifier":
        """Return the network, of so many features and classes."""
        from ugmm.nn import AutoregressiveUGMM

        keywords = options(self)
        del keywords["init"]
        return AutoregressiveUGMM(n_in, n_out, **keywords)


@dataclass
class BernoulliMixtureConfig(ModelConfig):
    """The baseline for features that are 0 or 1; see `ugmm.nn.BernoulliMixture`."""

    name: str = "bernoulli_mixture"
    hidden: list[int] = key([], low=1)  # it has none
    components: int = key(100, low=1)
    init: Literal["unit", "data"] = "data"

    is_density = True
    is_classifier = False

    def build(self, n_in: int, n_out: int) -> "Classifier":
        """Return the network, of so many features and classes."""
        from ugmm.baselines import BernoulliMixture

        return BernoulliMixture(n_in, n_out, self.components)


@dataclass
class MLPConfig(ModelConfig):
    """A multi-layer perceptron; see `ugmm.nn.MLP`."""

    name: str = "mlp"
    dropout: float = key(0.0, low=0, below=1)
    norm: Literal["none", "layer", "batch"] = "none"

    def build(self, n_in: int, n_out: int) -> "Classifier":
        """Return the network."""
        from ugmm.baselines import MLP

        keywords = options(self)
        return MLP([n_in, *keywords.pop("hidden"), n_out], **keywords)


@dataclass
class CircuitConfig(ModelConfig):
    """A probabilistic circuit of the package spflow; see `ugmm.baselines.circuits.Circuit`."""

    name: str = "spflow_rat"
    hidden: list[int] = key([], low=1)  # it has none
    channels: int = key(10, low=1)
    repetitions: int = key(5, low=1)
    depth: int = key(3, low=1)
    scale: float = key(0.5, above=0)
    min_scale: float = key(0.05, low=0)
    init: Literal["unit", "data"] = "data"

    is_density = True

    def build(self, n_in: int, n_out: int) -> "Classifier":
        """Return the circuit, of so many features and classes."""
        if find_spec("spflow") is None:
            raise UserError(
                f"model={self.name} needs spflow; install it with: pip install 'spflow>=1.1,<2'"
            )
        from ugmm.baselines.circuits import Circuit

        keywords = options(self)
        del keywords["hidden"], keywords["init"]
        return Circuit(n_in, n_out, kind=self.name.removeprefix("spflow_"), **keywords)


@dataclass
class FittedConfig(ModelConfig):
    """Gaussian classes, fitted by scikit-learn; see `ugmm.baselines.gaussian_classes`."""

    hidden: list[int] = key([], low=1)  # it has none

    is_density = True
    is_classifier = False
    is_fitted = True

    def build(self, n_in: int, n_out: int) -> "Classifier":
        """Return the model, to be fitted to so many features and classes."""
        from ugmm.baselines.gaussian_classes import GaussianClasses

        estimator: Any = self  # a subclass is a baseline too
        components = getattr(self, "components", 1)
        free = estimator.free(n_in, n_out)
        return GaussianClasses(n_in, n_out, components, estimator.parts, free)


@dataclass
class LDAConfig(LDA, FittedConfig):
    """Gaussian classes of one covariance."""

    name: str = "lda"


@dataclass
class QDAConfig(QDA, FittedConfig):
    """Gaussian classes."""

    name: str = "qda"


@dataclass
class GMMConfig(GMM, FittedConfig):
    """A Gaussian mixture for each class."""

    name: str = "gmm"
