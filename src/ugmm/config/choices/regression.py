"""The models and the task of regression: what predicts a number, and how it is trained."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ugmm.config.choices.declare import choice
from ugmm.config.choices.models import ModelConfig
from ugmm.config.choices.tasks import TaskConfig
from ugmm.errors import UserError
from ugmm.keys import key
from ugmm.objectives import (
    NegativeLogDensity,
    Pinball,
    RankedProbability,
    RegressionObjective,
)

if TYPE_CHECKING:
    from ugmm.nn import Network
    from ugmm.tasks import Task

__all__ = [
    "LinearRegressionConfig",
    "MLPRegressionConfig",
    "RegressionConfig",
    "RegressionTaskConfig",
    "RegressorConfig",
]

Head = Literal["gaussian", "heteroscedastic", "mixture", "quantiles"]
_LEVELS = [i / 20 for i in range(1, 20)]


@dataclass
class RegressorConfig(ModelConfig):
    """A network that predicts a distribution of a number, built from the number of its inputs."""

    # of the target given the features: normal, of a variance learned or predicted; a mixture of
    # normal distributions; or quantiles
    head: Head = "heteroscedastic"
    components: int = key(3, low=1, high=1000)  # of the mixture
    levels: list[float] = key(_LEVELS, above=0, below=1)  # of the quantiles
    # floor under predicted standard deviations, in those of the target
    min_std: float = key(1e-2, above=0, high=1000)

    is_classifier: ClassVar[bool] = False
    is_regressor: ClassVar[bool] = True

    def build(self, n_in: int, n_out: int) -> "Network":  # noqa: ARG002
        """Return the network, whose head knows the number of its outputs."""
        return self.construct(n_in)

    @property
    def predicts(self) -> str:
        """What its predictions can tell beside intervals: "density" or "quantiles"."""
        return "quantiles" if self.head == "quantiles" else "density"

    def check_with(self, config: Any) -> None:
        """Refuse quantiles that are none."""
        super().check_with(config)
        if len(self.levels) < 2 or sorted({*self.levels}) != list(self.levels):
            raise UserError("model.levels must be two or more numbers, each larger than the last")


@choice("model", "regression", builds="ugmm.nn:RegressionNetwork")
class RegressionConfig(RegressorConfig):
    """Mixture neurons beside a linear map; see `ugmm.nn.RegressionNetwork`."""

    hidden: list[int] = key([128], low=1, high=10**6)
    dropout: float = key(0.0, low=0, below=1)
    input_dropout: float = key(0.0, low=0, below=1)
    skip: bool = True  # whether there is the linear map
    init: Literal["unit", "data"] = "unit"
    min_scale: float = key(1e-3, low=0, high=1000)
    kernel: Literal["auto", "reference", "cpu", "cuda"] = "auto"

    takes_missing = True


@choice("model", "mlp_regression", builds="ugmm.baselines.regressors:MLPRegressor")
class MLPRegressionConfig(RegressorConfig):
    """A multi-layer perceptron; see `ugmm.baselines.MLPRegressor`."""

    hidden: list[int] = key([64, 64], low=1, high=10**6)
    dropout: float = key(0.0, low=0, below=1)
    norm: Literal["none", "layer", "batch"] = "none"


@choice("model", "linear_regression", builds="ugmm.baselines.regressors:LinearRegressor")
class LinearRegressionConfig(RegressorConfig):
    """A linear map of the features; see `ugmm.baselines.LinearRegressor`."""

    head: Head = "gaussian"


@choice("task", "regression", builds="ugmm.tasks:RegressionTask")
class RegressionTaskConfig(TaskConfig):
    """Predicting a number, and how sure one is of it; see `ugmm.tasks.RegressionTask`."""

    # -log p(y | x); the continuous ranked probability score; or the pinball loss of quantiles
    objective: Literal["nlpd", "crps", "pinball"] = "nlpd"

    is_regression = True

    @property
    def has_label(self) -> bool:
        """Whether there are classes to tell apart."""
        return False

    def measured(self, config: Any) -> tuple[str, ...]:
        """Return what a validation measures: see `ugmm.tasks.RegressionTask`."""
        density = ("nlpd",) if getattr(config.model, "predicts", "density") == "density" else ()
        return ("r2", "rmse", "mae", *density, "crps")

    def make_objective(self) -> RegressionObjective:
        """Return the loss."""
        made: dict[str, RegressionObjective] = {
            "nlpd": NegativeLogDensity(),
            "crps": RankedProbability(),
            "pinball": Pinball(),
        }
        return made[self.objective]

    def network(self, model: ModelConfig, n_features: int, n_classes: int) -> "Network":
        """Build the network."""
        if n_classes:
            raise UserError("task=regression needs a number to predict, and the data has classes")
        return model.build(n_features, n_classes)

    def build(self, network: "Network", n_classes: int, **training: Any) -> "Task":  # noqa: ARG002
        """Return the Lightning module; there are no classes."""
        return self.imported()(network, self.make_objective(), **training)

    def check_with(self, config: Any) -> None:
        """Refuse a loss of what is not predicted."""
        needs, head = self.make_objective().needs, getattr(config.model, "head", "")
        if needs and getattr(config.model, "predicts", needs) != needs:
            remedy = "pinball or crps" if needs == "density" else "nlpd or crps"
            raise UserError(
                f"task.objective={self.objective} with model.head={head}: that head predicts no "
                f"{needs}; use task.objective={remedy}"
            )
        super().check_with(config)
