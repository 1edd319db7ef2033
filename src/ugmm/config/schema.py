"""What an experiment can say: its keys, their types and ranges, beside those of its choices."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ugmm.config.choices import (  # noqa: F401  (declared)
    attention,
    baselines,
    convolution,
    recurrence,
    regression,
)
from ugmm.config.choices.data import DataConfig
from ugmm.config.choices.models import ModelConfig
from ugmm.config.choices.tasks import TaskConfig
from ugmm.config.training import (
    OptimizerConfig,
    PlotsConfig,
    ScheduleConfig,
    TrackingConfig,
    TrainerConfig,
)
from ugmm.keys import key

if TYPE_CHECKING:
    from ugmm.nn import Network

__all__ = ["SHARED", "Config"]


@dataclass
class Config:
    """One experiment, wholly resolved."""

    experiment: str  # its name, which is its file's
    data: DataConfig
    model: ModelConfig
    task: TaskConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    plots: PlotsConfig = field(default_factory=PlotsConfig)
    seed: int = key(0, low=0, high=2**31 - 1)  # of everything that is drawn
    group: str = "${experiment}"  # runs compared with each other
    name: str = "${experiment}"  # of the run; by default, the settings overridden
    variant: str = "${name}"  # runs that are repetitions of one another, in an ablation
    runs_dir: str = "runs"  # the folder of run folders

    @property
    def needs_validation(self) -> str:
        """The setting that looks at validations while training goes on; "" if none does."""
        if self.trainer.early_stopping.patience is not None:
            return f"trainer.early_stopping.patience={self.trainer.early_stopping.patience}"
        return "schedule.name=plateau" if self.schedule.name == "plateau" else ""

    @property
    def follows_monitor(self) -> bool:
        """Whether anything looks at `trainer.monitor`."""
        return self.trainer.test_checkpoint == "best" or bool(self.needs_validation)

    def network(self, n_features: int, n_classes: int) -> "Network":
        """Build the network of the experiment."""
        network = self.task.network(self.model, n_features, n_classes)
        if self.data.keeps_missing:
            network.expect_missing()
        return network

    def training(self) -> dict[str, dict[str, Any]]:
        """Return what a task is told of its training: the keywords `optimizer` and `schedule`."""
        schedule = {**asdict(self.schedule), "monitor": self.trainer.monitor}
        return {"optimizer": asdict(self.optimizer), "schedule": schedule}


# What every choice of a group has.
SHARED: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "task": TaskConfig}
