"""The Lightning Trainer of an experiment."""

import logging
import os
import warnings
from datetime import timedelta
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy

from ugmm.cluster.launch import check_launch, launch_environment
from ugmm.cluster.preemption import Notice
from ugmm.config.schema import Config
from ugmm.config.training import TrainerConfig
from ugmm.errors import UserError
from ugmm.metrics import Goal, find_metric
from ugmm.runs import Run
from ugmm.training.callbacks import EndTogether, NoProfiler, SeedEpochs, StopOnNonFinite
from ugmm.training.options.averaging import AverageWeights
from ugmm.training.options.extra import check_extra
from ugmm.training.options.stopping import StopEarly
from ugmm.training.progress import make_progress
from ugmm.training.saving.checkpoint import AtomicCheckpointIO, KeepBest, StampCheckpoints
from ugmm.training.saving.last import KeepLast
from ugmm.training.saving.midway import GoOnMidway

__all__ = [
    "check_hardware",
    "leave_signals_alone",
    "make_trainer",
    "optional_callbacks",
    "quieten",
]

# The keys of `trainer` that Lightning's Trainer takes as they are.
_OF_LIGHTNING = (
    "max_epochs",
    "accelerator",
    "devices",
    "num_nodes",
    "strategy",
    "precision",
    "gradient_clip_val",
    "accumulate_grad_batches",
    "log_every_n_steps",
    "fast_dev_run",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
)


def check_hardware(config: TrainerConfig) -> None:
    """Refuse devices that this machine does not have.

    Raises:
        UserError: If a GPU is asked for where there is none, or more of them than there are, or
            a launcher does not fit (see `ugmm.cluster.launch.check_launch`), or `trainer.extra`
            holds what cannot be handed on; or if far more processes are asked for than there are
            CPUs.
    """
    mps, devices = int(torch.backends.mps.is_available()), config.devices
    present = mps if config.accelerator == "mps" else torch.cuda.device_count() or mps
    if config.accelerator in ("gpu", "mps") and present == 0:
        kind = "GPU" if config.accelerator == "gpu" else "Apple GPU (mps)"
        raise UserError(
            f"trainer.accelerator={config.accelerator}: torch finds no {kind} here; use "
            "trainer.accelerator=cpu or auto"
        )
    on_gpu = config.accelerator != "cpu" and present > 0
    if isinstance(devices, list) and not on_gpu:
        raise UserError(
            f"trainer.devices={devices} names GPUs, and this runs on the CPU; give their number, "
            f"trainer.devices={len(devices)}"
        )
    wanted = max(devices) + 1 if isinstance(devices, list) else devices
    if on_gpu and isinstance(wanted, int) and wanted > present:
        raise UserError(f"trainer.devices={devices}: this machine has {present} GPU(s)")
    cpus = os.cpu_count() or 1
    if not on_gpu and isinstance(devices, int) and devices > max(cpus, 4):
        raise UserError(f"trainer.devices={devices}: this machine has {cpus} CPU(s) for them")
    quieten()
    check_extra(config.extra)
    check_launch(devices, config.num_nodes, present if on_gpu else 1)


def make_trainer(
    config: Config,
    run: Run,
    stamp: StampCheckpoints,
    loggers: list[Logger],
    best: tuple[int, float] | None,
) -> Trainer:
    """Return the trainer of a run.

    Args:
        config: The resolved configuration.
        run: Where checkpoints go.
        stamp: What every checkpoint carries.
        loggers: Where metrics go.
        best: The epoch and the validation of the best checkpoint, if the run has one already.
    """
    wanted = config.trainer
    settings: dict[str, Any] = {name: getattr(wanted, name) for name in _OF_LIGHTNING}
    quieten()
    plugins: list[Any] = [
        AtomicCheckpointIO(run.last, wanted.checkpoint.keep),
        launch_environment(),
    ]
    trainer = Trainer(
        **settings,
        **{"profiler": NoProfiler(), **wanted.extra},
        # At least one validation, however few the epochs: it chooses the best checkpoint.
        check_val_every_n_epoch=min(wanted.check_val_every_n_epoch, wanted.max_epochs),
        callbacks=_callbacks(config, run, stamp, best),
        plugins=plugins,
        logger=loggers,
        default_root_dir=run.folder,
        enable_checkpointing=not wanted.fast_dev_run,
        enable_progress_bar=False,  # it has its own
        enable_model_summary=False,
        use_distributed_sampler=False,  # the data modules divide batches among ranks themselves
        num_sanity_val_steps=0,
        # On the CPU every operation used here is deterministic as it is; saying so (False) would
        # take half a second, in which torch imports its compiler.
        deterministic=(torch.cuda.is_available() and wanted.accelerator != "cpu") or None,
    )
    if isinstance(trainer.strategy, DDPStrategy):  # chosen by Lightning, which takes no key for it
        trainer.strategy._timeout = timedelta(seconds=wanted.timeout)
    leave_signals_alone(trainer)
    return trainer


def leave_signals_alone(trainer: Trainer) -> None:
    """Let Lightning do nothing about signals, which are ours, or the calling program's.

    Its handler exchanges something with the other processes whatever they are in the midst of, and
    hangs; at every step they wait for one another, and for the device, to hear of SIGTERM.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def _callbacks(
    config: Config, run: Run, stamp: StampCheckpoints, best: tuple[int, float] | None
) -> list[Callback]:
    """Return all that acts while a run goes on, in the order in which it acts."""
    wanted, guard = config.trainer, StopOnNonFinite(run.last)
    found: list[Callback] = [
        SeedEpochs(config.seed),
        GoOnMidway(),
        guard,
        EndTogether(),
        stamp,
        make_progress(),
        *optional_callbacks(wanted),
    ]
    if not wanted.fast_dev_run:
        found += _checkpoints(wanted, run, stamp, best, guard)
    return found


def optional_callbacks(wanted: TrainerConfig, stop: type[StopEarly] = StopEarly) -> list[Callback]:
    """Return what is asked for by keys that are off by default.

    Args:
        wanted: The keys.
        stop: What stops early, if that is asked for.
    """
    found: list[Callback] = []
    if wanted.averaging.name != "none":
        found.append(AverageWeights(wanted.averaging, wanted.max_epochs))
    if (patience := wanted.early_stopping.patience) is not None:
        goal, min_delta = _goal_of(wanted.monitor), wanted.early_stopping.min_delta
        found.append(stop(wanted.monitor, goal, patience, min_delta))
    return found


def _checkpoints(
    wanted: TrainerConfig,
    run: Run,
    stamp: StampCheckpoints,
    best: tuple[int, float] | None,
    guard: StopOnNonFinite,
) -> list[Callback]:
    """Keep the best checkpoint by the validation, and the last one, to resume from."""
    epochs, notice = wanted.check_val_every_n_epoch, Notice(wanted.grace)
    last = KeepLast(run.last, epochs, wanted.checkpoint, notice, guard, wanted.timeout)
    if wanted.test_checkpoint == "last":
        return [last]
    return [KeepBest(run.best, stamp, wanted.monitor, _goal_of(wanted.monitor), best), last]


def _goal_of(monitor: str) -> Goal:
    goal = find_metric(monitor).goal
    assert goal is not None  # all that a validation measures has one
    return goal


def quieten() -> None:
    """Silence what Lightning says at every start and nobody can act on."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning calling torch
        "The number of training batches",  # fewer than log_every_n_steps: steps are counted
        "`LightningModule.configure_optimizers` returned `None`",  # what is fitted needs none
        "The `srun` command is available",  # nor in a job called interactive, where it is used
        ".*recommended to use `self.log.*sync_dist=True",  # they are exact over ranks already
        "Be aware that when using `ckpt_path`",  # earlier versions kept checkpoints otherwise
        "Total length of `list` across ranks is zero",  # no validation, by data.val_fraction=0
    ):
        warnings.filterwarnings("ignore", message)
