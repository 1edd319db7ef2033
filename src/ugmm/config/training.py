"""How a network is trained: optimiser, schedule, trainer, tracking; and how a run is drawn."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ugmm.errors import UserError
from ugmm.keys import key

__all__ = [
    "AveragingConfig",
    "CheckpointConfig",
    "EarlyStoppingConfig",
    "OptimizerConfig",
    "PlotsConfig",
    "ScheduleConfig",
    "TrackingConfig",
    "TrainerConfig",
]


@dataclass
class OptimizerConfig:
    """The optimiser; see `ugmm.tasks.optimization.make_optimizer`."""

    name: Literal["adam", "adamw", "sgd"] = "adam"  # one of torch.optim's
    lr: float = key(1e-3, above=0, high=10**6)  # the learning rate
    weight_decay: float = key(0.0, low=0, high=1000)  # never of scales or mixing weights
    betas: tuple[float, float] = key((0.9, 0.999), low=0, below=1)  # of adam and adamw
    momentum: float = key(0.0, low=0, below=1)  # of sgd


@dataclass
class ScheduleConfig:
    """How the learning rate moves; see `ugmm.tasks.optimization.make_schedule`."""

    # step and plateau multiply the rate by gamma; cosine and one_cycle end near 0
    name: Literal["constant", "step", "cosine", "one_cycle", "plateau"] = "constant"
    milestones: list[int] = key([], low=1, high=10**6)  # epochs at which step does so
    gamma: float = key(0.1, above=0, high=10**6)  # by which step and plateau multiply
    warmup: float = key(0.3, low=0, below=1)  # share of all steps
    # validations without a better trainer.monitor (plateau)
    patience: int = key(10, low=0, high=10**6)


@dataclass
class EarlyStoppingConfig:
    """When to stop before the last epoch; see `ugmm.training.options.stopping`."""

    # validations without a better trainer.monitor; null: never
    patience: int | None = key(None, low=1, high=10**6)
    min_delta: float = key(0.0, low=0, high=10**6)  # by how much a better one must be better


@dataclass
class AveragingConfig:
    """Averages of weights; see `ugmm.training.options.averaging`."""

    name: Literal["none", "ema", "swa"] = "none"  # exponential, or of the last epochs
    decay: float = key(0.999, low=0, below=1)  # of ema, for a step
    start: float | None = key(None, low=0, below=1)  # share of epochs; null: 0 (ema), 0.75 (swa)


@dataclass
class CheckpointConfig:
    """The checkpoints to resume from, beside that of every validated epoch's end.

    See `ugmm.training.saving`.
    """

    every_steps: int | None = key(None, low=1, high=10**9)  # null: never between epochs
    every_minutes: float | None = key(None, above=0, high=10**6)  # null: not by the clock
    keep: int = key(2, low=1, high=1000)  # how many: last.ckpt, and those before it


# Arguments of Lightning's Trainer that ugmm sets itself, or relies on, and the key for each.
SET_BY_UGMM = {
    "barebones": "",
    "callbacks": "trainer.early_stopping and trainer.averaging",
    "default_root_dir": "runs_dir",
    "deterministic": "",
    "enable_checkpointing": "trainer.checkpoint and trainer.test_checkpoint",
    "enable_model_summary": "",
    "enable_progress_bar": "",
    "logger": "tracking.mode",
    "max_steps": "trainer.max_epochs",
    "num_sanity_val_steps": "",
    "plugins": "",
    "sync_batchnorm": "",
    "use_distributed_sampler": "",
    "val_check_interval": "trainer.check_val_every_n_epoch",
}


def key_instead(argument: str) -> str:
    """Return the end of an error's line: who sets an argument of `SET_BY_UGMM`, and what to do."""
    there = SET_BY_UGMM[argument]
    return "is set by ugmm itself; " + (f"see {there}" if there else "leave it out")


@dataclass
class TrainerConfig:
    """How training runs: devices, precision, epochs. Most keys are Lightning's own."""

    max_epochs: int = key(20, low=1, high=10**6)  # after which training ends
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"  # auto: a GPU, if there is one
    # how many, or "auto", or which GPUs, such as [0, 1]
    devices: int | str | list[int] = key("auto", high=1024)
    num_nodes: int = key(1, low=1, high=10_000)  # machines
    strategy: Literal["auto", "ddp"] = "auto"  # ddp: a process for each device
    # bits of the numbers that are computed with; mixed: where that is safe
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = "32-true"
    gradient_clip_val: float | None = key(None, above=0, high=1e9)  # the gradient's greatest norm
    accumulate_grad_batches: int = key(1, low=1, high=10**6)  # batches whose gradients make a step
    # Of each epoch: a number of batches, or a share of them below 1; null: all.
    limit_train_batches: int | float | None = key(None, above=0, high=10**9)
    limit_val_batches: int | float | None = key(None, above=0, high=10**9)  # of a validation
    limit_test_batches: int | float | None = key(None, above=0, high=10**9)  # of the test
    check_val_every_n_epoch: int = key(1, low=1, high=10**6)  # epochs between validations
    log_every_n_steps: int = key(50, low=1, high=10**9)  # steps between rows of metrics.csv
    fast_dev_run: bool = False  # one batch of everything, to see that it runs
    # Which metric decides on the best checkpoint: of classes, of a density, of the paper's score,
    # of numbers that are predicted.
    monitor: Literal[
        "val/accuracy",
        "val/nll",
        "val/ece",
        "val/log_prob",
        "val/bits_per_dim",
        "val/score",
        "val/r2",
        "val/rmse",
        "val/mae",
        "val/nlpd",
        "val/crps",
    ] = "val/accuracy"
    test_checkpoint: Literal["best", "last"] = "best"  # best: by trainer.monitor
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    grace: float = key(60.0, low=0, high=10**6)  # seconds before a Slurm job's end, to stop in
    # seconds in which nothing is heard of another process, after which this one ends
    timeout: int = key(600, low=1, high=10**6)
    threads: int | None = key(None, low=1, high=1024)  # CPU threads a process; null: torch's own
    extra: dict[str, Any] = key({})  # further arguments of lightning.Trainer, by their names

    def check(self) -> None:
        """Refuse what types and bounds do not tell.

        Raises:
            UserError: If devices are neither a number nor a list of them, or a limit is no share.
        """
        devices = self.devices
        if isinstance(devices, str) and devices != "auto":
            raise UserError(f"trainer.devices={devices} must be a number or auto")
        if isinstance(devices, int) and devices < 1:
            raise UserError(f"trainer.devices={devices} must be at least 1; auto takes all GPUs")
        listed = devices if isinstance(devices, list) else [0]
        if not listed or min(listed) < 0 or len({*listed}) < len(listed):
            raise UserError(
                f"trainer.devices={devices} must name GPUs, each once, by numbers from 0 up"
            )
        for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
            limit = getattr(self, name)
            if isinstance(limit, float) and limit >= 1:
                raise UserError(
                    f"trainer.{name}={limit} must be a whole number of batches, or a share of "
                    "them below 1; leave it out for all"
                )


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled", "off"] = "auto"  # off: disabled
    project: str = "ugmm-${data.name}-${task.name}"  # in which W&B lists the run
    entity: str | None = None  # the team or user of it; null: W&B's own default
    tags: list[str] = key([])  # of the run, in W&B
    log_model: bool = True  # the best checkpoint, as an artifact, at the end


@dataclass
class PlotsConfig:
    """The pictures of a run, in its folder `plots/`: PNG files, which pages and W&B show."""

    vector: Literal["none", "pdf", "svg"] = "none"  # each picture as such a file, too, for print
