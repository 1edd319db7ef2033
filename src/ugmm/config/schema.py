"""What an experiment can say: its keys, their types and ranges, beside those of its choices."""

from dataclasses import dataclass, field
from typing import Any

from ugmm.config.choices.data import DataConfig
from ugmm.config.choices.models import ModelConfig
from ugmm.config.choices.tasks import TaskConfig
from ugmm.config.training import OptimizerConfig, ScheduleConfig, TrackingConfig, TrainerConfig
from ugmm.keys import key

__all__ = ["SHARED", "Config"]


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


# What every choice of a group has.
SHARED: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "task": TaskConfig}
