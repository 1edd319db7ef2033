"""What an experiment can say: every key, its type, its range, and what it builds.

A choice of `data`, `model` or `task` is a dataclass whose fields are the keywords of the class it
builds; `CHOICES` names them. Nothing here imports torch before `build` is called.
"""

from dataclasses import dataclass, field
from typing import Any

from ugmm.config.data import CSVConfig, DataConfig, MNISTConfig, TabularConfig
from ugmm.config.models import (
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
from ugmm.config.tasks import (
    DiscriminativeConfig,
    FittedTaskConfig,
    GenerativeConfig,
    TaskConfig,
)
from ugmm.config.training import OptimizerConfig, ScheduleConfig, TrackingConfig, TrainerConfig
from ugmm.keys import key

__all__ = ["CHOICES", "SHARED", "Config"]


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
