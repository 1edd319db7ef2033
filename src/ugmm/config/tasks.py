"""The tasks that an experiment can choose, like the rest of `ugmm.config.schema`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from ugmm.config.models import ModelConfig
from ugmm.errors import UserError
from ugmm.keys import key, options

if TYPE_CHECKING:
    from ugmm.nn import Classifier, Density
    from ugmm.tasks import Task

__all__ = ["DiscriminativeConfig", "FittedTaskConfig", "GenerativeConfig", "TaskConfig"]


def need_classes(n_classes: int) -> None:
    """Refuse data without a label where a task tells classes apart."""
    if n_classes < 2:
        raise UserError("the data has one class only; name its label's column by data.label=...")


@dataclass
class TaskConfig:
    """What the network is trained to do."""

    name: str = key()

    def network(self, model: ModelConfig, n_features: int, n_classes: int) -> "Classifier":
        """Build the network with the inputs and outputs that the task needs."""
        raise NotImplementedError

    def build(self, network: "Classifier", n_classes: int, **training: Any) -> "Task":
        """Return the Lightning module; `training` are `optimizer` and `schedule`."""
        raise NotImplementedError


@dataclass
class DiscriminativeConfig(TaskConfig):
    """Cross-entropy on the class scores."""

    name: str = "discriminative"
    label_smoothing: float = key(0.0, low=0, high=1)

    def network(self, model: ModelConfig, n_features: int, n_classes: int) -> "Classifier":
        """Build a network with an output for every class."""
        need_classes(n_classes)
        return model.build(n_features, n_classes)

    def build(self, network: "Classifier", n_classes: int, **training: Any) -> "Task":
        """Return the Lightning module."""
        from ugmm.tasks import DiscriminativeTask

        return DiscriminativeTask(network, n_classes, self.label_smoothing, **training)


@dataclass
class GenerativeConfig(TaskConfig):
    """A density of features and label together, or the paper's score of them."""

    name: str = "generative"
    objective: Literal["ranking_nce", "likelihood", "score", "cross_entropy"] = "ranking_nce"
    label: Literal["onehot", "real", "none"] = "onehot"
    label_weight: float = key(0.0, low=0)  # of the label's cross-entropy, added to the objective
    noise: float | None = key(None, low=0)  # width of the vicinal noise; null: Silverman's rule
    n_noise: int = key(512, low=1)  # draws a step for ranking_nce
    z_draws: int = key(2**18, low=16)  # for each estimate of the partition function, at the test
    ensemble: int = key(1, low=1)  # densities that are averaged, each normalised by itself

    def network(self, model: ModelConfig, n_features: int, n_classes: int) -> "Classifier":
        """Build a density of features and label."""
        from ugmm.density import Ensemble, TiltedGaussian
        from ugmm.nn import JointScore

        if self.label != "none":
            need_classes(n_classes)

        def member() -> "Density":
            if self.objective == "likelihood":
                density = model.build(n_features, 1 if self.label == "none" else n_classes)
                return cast("Density", density)
            label_size = {"onehot": n_classes, "real": 1, "none": 0}[self.label]
            network = model.build(n_features + label_size, 1)
            score = JointScore(network, n_classes, self.label)
            return TiltedGaussian(score, n_features, len(score.codes))

        if self.ensemble == 1:
            return member()
        return Ensemble([member() for _ in range(self.ensemble)])

    def build(self, network: "Classifier", n_classes: int, **training: Any) -> "Task":
        """Return the Lightning module."""
        from ugmm.tasks import GenerativeTask

        keywords = options(self)
        has_label = keywords.pop("label") != "none"
        del keywords["ensemble"]
        return GenerativeTask(network, n_classes, has_label=has_label, **keywords, **training)


@dataclass
class FittedTaskConfig(TaskConfig):
    """Fitting a model at once, in the place of training one; see `ugmm.tasks.FittedTask`."""

    name: str = "fitted"

    def network(self, model: ModelConfig, n_features: int, n_classes: int) -> "Classifier":
        """Build a model of features and classes."""
        need_classes(n_classes)
        return model.build(n_features, n_classes)

    def build(self, network: "Classifier", n_classes: int, **training: Any) -> "Task":
        """Return the Lightning module."""
        from ugmm.tasks import FittedTask

        return FittedTask(network, n_classes, **training)
