"""What an experiment can say: every key, its type, its range, and what it builds.

A choice of `data`, `model` or `task` is a dataclass whose fields are the keywords of the class it
builds; `CHOICES` names them. Nothing here imports torch before `build` is called.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from ugmm.errors import UserError
from ugmm.experiment.data_config import CSVConfig, DataConfig, MNISTConfig, TabularConfig
from ugmm.experiment.keys import key, options
from ugmm.experiment.model_config import (
    AutoregressiveConfig,
    BernoulliMixtureConfig,
    CircuitConfig,
    GMMConfig,
    LDAConfig,
    MLPConfig,
    ModelConfig,
    QDAConfig,
    UGMMConfig,
)

if TYPE_CHECKING:
    from ugmm.nn import Classifier, Density
    from ugmm.tasks import Task

__all__ = ["CHOICES", "GOALS", "SHARED", "Config", "DataConfig", "TrainerConfig"]


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


@dataclass
class OptimizerConfig:
    """The optimiser; see `ugmm.tasks.optimization.make_optimizer`."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = key(1e-3, above=0)
    weight_decay: float = key(0.0, low=0)
    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata={"low": 0, "below": 1})
    momentum: float = key(0.0, low=0, below=1)


@dataclass
class ScheduleConfig:
    """How the learning rate moves; see `ugmm.tasks.optimization.make_schedule`."""

    name: Literal["constant", "step", "cosine", "one_cycle"] = "constant"
    milestones: list[int] = key([], low=1)  # epochs
    gamma: float = key(0.1, above=0)
    warmup: float = key(0.3, low=0, below=1)  # share of all steps


@dataclass
class TrainerConfig:
    """How training runs: devices, precision, epochs. Most keys are Lightning's own."""

    max_epochs: int = key(20, low=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int | str = key("auto", low=1)  # a number, or "auto"
    num_nodes: int = key(1, low=1)
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = "32-true"
    gradient_clip_val: float | None = key(None, above=0)
    accumulate_grad_batches: int = key(1, low=1)
    check_val_every_n_epoch: int = key(1, low=1)
    log_every_n_steps: int = key(50, low=1)
    fast_dev_run: bool = False
    # Which metric decides on the best checkpoint; the last two exist for task=generative.
    monitor: Literal["val/accuracy", "val/nll", "val/ece", "val/log_prob", "val/score"] = (
        "val/accuracy"
    )
    test_checkpoint: Literal["best", "last"] = "best"
    threads: int | None = key(None, low=1)  # CPU threads a process; null: torch's choice


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "ugmm-${data.name}-${task.name}"
    entity: str | None = None
    tags: list[str] = key([])
    log_model: bool = True  # the best checkpoint, as an artifact, at the end


@dataclass
class Config:
    """One experiment, wholly resolved."""

    experiment: str
    data: DataConfig
    model: ModelConfig
    task: TaskConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = key(0, low=0, high=2**31 - 1)
    group: str = "${experiment}"  # runs compared with each other
    name: str = "${experiment}"  # of the run; by default, the settings overridden
    variant: str = "${name}"  # runs that are repetitions of one another, in an ablation
    runs_dir: str = "runs"


# Which way each metric is better.
GOALS: dict[str, Literal["max", "min"]] = {
    "accuracy": "max",
    "nll": "min",
    "ece": "min",
    "log_prob": "max",
    "score": "max",
}

CHOICES: dict[str, dict[str, Any]] = {
    "data": {
        **dict.fromkeys(("iris", "wine", "breast_cancer", "digits"), TabularConfig),
        "csv": CSVConfig,
        "mnist": MNISTConfig,
    },
    "model": {
        "ugmm": UGMMConfig,
        "mlp": MLPConfig,
        "autoregressive": AutoregressiveConfig,
        "bernoulli_mixture": BernoulliMixtureConfig,
        **dict.fromkeys(("spflow_rat", "spflow_einet"), CircuitConfig),
        "lda": LDAConfig,
        "qda": QDAConfig,
        "gmm": GMMConfig,
    },
    "task": {
        "discriminative": DiscriminativeConfig,
        "generative": GenerativeConfig,
        "fitted": FittedTaskConfig,
    },
}

# What every choice of a group has.
SHARED: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "task": TaskConfig}
