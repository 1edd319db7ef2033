"""The models that an experiment can choose."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ugmm.baselines import GMM, LDA, QDA
from ugmm.config.choices.declare import Choice, choice
from ugmm.errors import UserError
from ugmm.keys import key

if TYPE_CHECKING:
    from ugmm.nn import Network

__all__ = [
    "AutoregressiveConfig",
    "AutoregressiveModelConfig",
    "BernoulliMixtureConfig",
    "CircuitConfig",
    "GMMConfig",
    "LDAConfig",
    "LayeredConfig",
    "MLPConfig",
    "MixtureCircuitConfig",
    "ModelConfig",
    "NADEConfig",
    "QDAConfig",
    "UGMMConfig",
]


@dataclass
class ModelConfig(Choice):
    """A model, built from the numbers of its inputs and outputs, and its keys.

    The inputs and outputs of a density are its features and classes.
    """

    group: ClassVar[str] = "model"

    # widths between them, if it has any
    hidden: list[int] = key([], low=1, high=10**6, passed=False)

    # What tasks ask of a model; no keys.
    is_density: ClassVar[bool] = False  # whether it is normalised by construction
    is_classifier: ClassVar[bool] = True  # whether it can be trained to tell classes apart
    is_regressor: ClassVar[bool] = False  # whether it predicts numbers, and has no classes
    is_fitted: ClassVar[bool] = False  # whether it is fitted at once, by task=fitted
    takes_missing: ClassVar[bool] = False  # whether it does without values that are missing

    def build(self, n_in: int, n_out: int) -> "Network":
        """Return the model."""
        return self.construct(n_in, n_out)

    @property
    def is_bounded(self) -> bool:
        """Whether its outputs have an upper bound."""
        return False

    @property
    def is_discrete(self) -> bool:
        """Whether it is a density of features that have levels, as 0 and 1 are."""
        return False

    @property
    def starts_from_data(self) -> bool:
        """Whether its initial parameters are set by training rows."""
        return getattr(self, "init", "") == "data"

    def check_with(self, config: Any) -> None:
        """Refuse batches of one row where they are normalised."""
        if getattr(self, "norm", "") == "batch" and config.data.batch_size < 2:
            raise UserError("model.norm=batch needs a data.batch_size of 2 or more")

    def check_fixed(self, objective: str) -> None:
        """Refuse what makes a score random or dependent on the batch: it would have no Z."""
        dropout = getattr(self, "dropout", 0)
        rates = dropout if isinstance(dropout, list) else [dropout]
        drops = {"dropout": any(rates), "input_dropout": getattr(self, "input_dropout", 0)}
        for name in (name for name, drop in drops.items() if drop):
            raise UserError(
                f"model.{name}={getattr(self, name)} with {objective}: the score must be a fixed "
                f"function of its inputs; set model.{name}=0"
            )
        if getattr(self, "norm", "") == "batch":
            raise UserError(
                f"model.norm=batch with {objective}: the score must be a fixed function of its "
                "inputs; use model.norm=layer or none"
            )


@dataclass
class LayeredConfig(ModelConfig):
    """A network of layers, built from the list of all its widths, and its keys."""

    hidden: list[int] = key([128, 64], low=1, high=10**6, passed=False)

    def build(self, n_in: int, n_out: int) -> "Network":
        """Return the network."""
        return self.construct([n_in, *self.hidden, n_out])


@choice("model", "ugmm", builds="ugmm.nn:UGMMNetwork")
class UGMMConfig(LayeredConfig):
    """A network of mixture neurons; see `ugmm.nn.UGMMNetwork`."""

    dropout: float | int | list[float | int] = key(0.0, low=0, below=1)
    input_dropout: float = key(0.0, low=0, below=1)
    norm: Literal["none", "layer", "batch"] = "none"
    init: Literal["unit", "paper", "data"] = "unit"
    min_scale: float = key(1e-3, low=0, high=1000)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"
    head: Literal["mixture", "gain", "linear"] = "mixture"  # what makes the outputs

    takes_missing = True

    @property
    def is_bounded(self) -> bool:
        """Whether its outputs have an upper bound."""
        return self.head == "mixture"

    def check_with(self, config: Any) -> None:
        """Refuse a linear head without neurons."""
        super().check_with(config)
        if self.head == "linear" and not self.hidden:
            raise UserError("model.head=linear needs a width in model.hidden")


@choice("model", "mlp", builds="ugmm.baselines.mlp:MLP")
class MLPConfig(LayeredConfig):
    """A multi-layer perceptron; see `ugmm.baselines.MLP`."""

    dropout: float = key(0.0, low=0, below=1)
    norm: Literal["none", "layer", "batch"] = "none"


@dataclass
class AutoregressiveModelConfig(ModelConfig):
    """A density that is a product: each feature given those before it."""

    head: Literal["gaussian", "bernoulli", "levels"] = "gaussian"
    components: int = key(4, low=1, high=10_000)  # of a mixture
    levels: int = key(256, low=3, high=1024)  # of a feature of head=levels, from 0 to 1
    neighbours: int = key(0, low=0, high=1000)  # how far the pixels of a linear term are; 0: none
    # [height, width] of the images whose pixels are neighbours; null: square
    image_shape: list[int] | None = key(None, low=1, high=10**6)
    # conditionals a training step; null: all
    positions: int | None = key(None, low=1, high=10**6)

    is_density = True
    is_classifier = False

    @property
    def is_discrete(self) -> bool:
        """Whether it is a density of features that have levels, as 0 and 1 are."""
        return self.head != "gaussian"

    def check_with(self, config: Any) -> None:
        """Refuse noise between levels, and neighbours in a table."""
        super().check_with(config)
        data = config.data
        if self.head == "levels":
            for place, noise in (("data", data), ("task", config.task)):
                if getattr(noise, "noise", 0) != 0:
                    raise UserError(
                        f"{place}.noise={noise.noise} with model.head=levels: what lies between "
                        f"two levels has no probability; set {place}.noise=0"
                    )
            if getattr(data, "binarize", None) is not None:
                raise UserError(
                    "model.head=levels needs grey pixels; set data.binarize=null, or "
                    "model.head=bernoulli"
                )
        if self.neighbours and self.image_shape is None and not data.holds_images:
            raise UserError(
                f"model.neighbours={self.neighbours} are pixels of an image, and rows of "
                f"data={data.name} are none as far as is known; name "
                "model.image_shape=[height,width], or set model.neighbours=0"
            )


@choice("model", "autoregressive", builds="ugmm.nn:AutoregressiveUGMM")
class AutoregressiveConfig(AutoregressiveModelConfig):
    """Each feature given those before it, normalised; see `ugmm.nn.AutoregressiveUGMM`."""

    hidden: list[int] = key([128, 64], low=1, high=10**6)
    # of the features: as they are numbered, or another at each training step
    order: Literal["fixed", "random"] = "fixed"
    orders: int = key(4, low=2, high=1000)  # mixed in evaluation, of a random order
    # what the first layer remembers: all, or the last lines of an image, column by column
    memory: Literal["all", "columns"] = "all"
    dropout: float = key(0.0, low=0, below=1)
    init: Literal["unit", "data"] = key("unit", passed=False)
    min_scale: float = key(1e-3, low=0, high=1000)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"

    takes_missing = True


@choice("model", "nade", builds="ugmm.baselines.nade:NADE")
class NADEConfig(AutoregressiveModelConfig):
    """The same of rectifiers, or of neighbours alone; see `ugmm.baselines.NADE`."""

    hidden: list[int] = key([128], low=1, high=10**6)
    init: Literal["unit", "data"] = key("unit", passed=False)


@choice("model", "bernoulli_mixture", builds="ugmm.baselines.bernoulli:BernoulliMixture")
class BernoulliMixtureConfig(ModelConfig):
    """The baseline for features that are 0 or 1; see `ugmm.baselines.BernoulliMixture`."""

    components: int = key(100, low=1, high=10**6)
    init: Literal["unit", "data"] = key("data", passed=False)

    is_density = True
    is_classifier = False

    @property
    def is_discrete(self) -> bool:
        """Whether it is a density of features that have levels, as 0 and 1 are."""
        return True


@choice("model", "ugmm_circuit", builds="ugmm.nn:UGMMCircuit")
class MixtureCircuitConfig(ModelConfig):
    """A probabilistic circuit of mixture neurons; see `ugmm.nn.UGMMCircuit`."""

    channels: int = key(8, low=1, high=10_000)
    components: int = key(4, low=1, high=10_000)
    repetitions: int = key(6, low=1, high=10_000)
    # widths of the layers between a feature and its leaves
    leaf_hidden: list[int] = key([], low=1, high=10_000)
    min_scale: float = key(0.05, above=0, high=1000)
    structure_seed: int = key(0, low=0, high=2**31)  # of the features' orders
    init: Literal["unit", "data"] = key("data", passed=False)

    takes_missing = True
    is_density = True
    is_classifier = False


@choice(
    "model",
    "spflow_rat",
    "spflow_einet",
    builds="ugmm.baselines.circuits:Circuit",
    needs="spflow>=1.1,<2",
)
class CircuitConfig(ModelConfig):
    """A probabilistic circuit of the package spflow; see `ugmm.baselines.Circuit`."""

    channels: int = key(10, low=1, high=10_000)
    repetitions: int = key(5, low=1, high=10_000)
    depth: int = key(3, low=1, high=20)
    scale: float = key(0.5, above=0, high=1000)
    min_scale: float = key(0.05, low=0, high=1000)
    init: Literal["unit", "data"] = key("data", passed=False)

    takes_missing = True
    is_density = True

    def build(self, n_in: int, n_out: int) -> "Network":
        """Return the circuit."""
        return self.construct(n_in, n_out, kind=self.name.removeprefix("spflow_"))


@dataclass
class FittedConfig(ModelConfig):
    """Gaussian classes, fitted by scikit-learn; see `ugmm.baselines.gaussian_classes`."""

    is_density = True
    is_classifier = False
    is_fitted = True

    def build(self, n_in: int, n_out: int) -> "Network":
        """Return the model, to be fitted."""
        from ugmm.baselines import GaussianClasses

        estimator: Any = self  # a subclass is a baseline too
        components = getattr(self, "components", 1)
        free = estimator.free(n_in, n_out)
        return GaussianClasses(n_in, n_out, components, estimator.parts, free)


@choice("model", "lda")
class LDAConfig(LDA, FittedConfig):
    """Gaussian classes of one covariance."""


@choice("model", "qda")
class QDAConfig(QDA, FittedConfig):
    """Gaussian classes."""


@choice("model", "gmm")
class GMMConfig(GMM, FittedConfig):
    """A Gaussian mixture for each class."""
