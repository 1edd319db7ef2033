"""What the trainer does beside training: seeding every epoch, guarding the loss, reporting."""

import math
import random
import signal
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from torch import nn

from ugmm.cluster.signals import Stopped, tell_first
from ugmm.errors import UserError

__all__ = [
    "EndTogether",
    "NoProfiler",
    "SeedEpochs",
    "StopOnNonFinite",
    "leave_out_idle_hooks",
]

_HOOKS = (  # of every step or epoch
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_train_epoch_end",
)
_NOTHING = nullcontext()


def leave_out_idle_hooks(trainer: Trainer, task: LightningModule) -> None:
    """Spare Lightning the calls of hooks in which nothing is done.

    It calls all hooks of all callbacks, and of the module, at every step: in a small network that
    takes longer than the network. Of a hook that is None it leaves the call out.
    """
    owners = [(callback, Callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
    for owner, base in [*owners, (task, LightningModule)]:
        for hook in _HOOKS:
            own = vars(owner).get(hook)  # as a LambdaCallback has
            if own is None and getattr(type(owner), hook) is getattr(base, hook):
                setattr(owner, hook, None)


class NoProfiler(PassThroughProfiler):
    """Lightning's idle profiler, less the generator that it makes for each part of a step."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]  # noqa: ARG002
        """Do nothing."""
        return _NOTHING


class SeedEpochs(Callback):
    """Seed all random numbers from the seed and the epoch as each epoch starts.

    Lightning's checkpoints hold no random states. With this, a resumed epoch draws the numbers
    that it would have drawn in an uninterrupted run, on however many devices: all ranks draw the
    same numbers, and each takes those of its rows (`ugmm.ranks`).

    Arguments:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Seed Python, NumPy and torch."""
        place = (self.seed, trainer.current_epoch, 0)  # as if there were one process
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (what a data set or a network may draw from)
        if trainer.strategy.root_device.type == "cpu":
            # torch.manual_seed also notes, at length, what to do should another device be used.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)


class StopOnNonFinite(Callback):
    """Stop with one line when the loss or the validation is NaN or infinite.

    Looking at a loss waits for the device, and in several processes for each other. There it is
    done every `log_every_n_steps` steps, when logging waits anyway, and at the end of an epoch,
    before anything is saved; in one process on a CPU at every step.

    Arguments:
        last: The run's last checkpoint, to name it if there is one: all that is saved is good.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.since_last_look: torch.Tensor | float = 0.0

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor
    ) -> None:
        """Add the loss to those not yet looked at: the sum is finite only if all are."""
        self.since_last_look = self.since_last_look + loss.detach()
        waits = trainer.world_size > 1 or loss.device.type != "cpu"
        logs = (trainer.global_step + 1) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if waits and not (logs or trainer.is_last_batch):
            return
        self.look(trainer, pl_module)

    def look(self, trainer: Trainer, task: LightningModule) -> None:
        """Look at the losses not yet looked at.

        Raises:
            UserError: If one is NaN or infinite.
        """
        if isinstance(self.since_last_look, torch.Tensor):
            value, self.since_last_look = float(self.since_last_look), 0.0
            self._look(trainer, task, f"the loss is {value} at", math.isfinite(value))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the validation before it becomes a checkpoint."""
        watched = str(pl_module.watched)
        value = float(trainer.callback_metrics.get(watched, 0.0))
        self._look(trainer, pl_module, f"{watched} is {value} after", math.isfinite(value))

    def _look(self, trainer: Trainer, task: Any, what: str, finite: bool) -> None:
        if trainer.world_size > 1:  # stop together: others would wait for the one that stopped
            finite = trainer.strategy.reduce_boolean_decision(finite, all=True)
        if finite:
            return
        saved = self.last.is_file()
        good = f"the last good checkpoint is {self.last}" if saved else "no checkpoint yet"
        raise UserError(
            f"{what} step {trainer.global_step}: {_culprit(trainer, task.network)}; {good}; try a "
            "lower optimizer.lr, a higher model.min_scale or trainer.gradient_clip_val=1"
        )


def _culprit(trainer: Trainer, network: nn.Module) -> str:
    """Name the first parameter that is not finite, else the largest, with its group."""
    groups = {
        parameter: f"group '{group['name']}', lr {group['lr']:.3g}"
        for group in trainer.optimizers[0].param_groups
        for parameter in group["params"]
    }
    named = [(name, p.detach()) for name, p in network.named_parameters()]
    of = {name: groups[p] for name, p in network.named_parameters()}
    for name, values in named:
        if not torch.isfinite(values).all():
            return f"parameter {name} is not finite ({of[name]})"
    size, name = max((float(values.abs().max()), name) for name, values in named)
    return f"all parameters are finite, the largest is {size:.3g} in {name} ({of[name]})"


class EndTogether(Callback):
    """End the processes that work for this one when it fails, or gets a signal that ends it."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Let a signal reach them."""
        launcher = trainer.strategy.launcher
        tell_first(None if launcher is None else launcher.kill)

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """End the others, which would wait for this one, and then complain at length."""
        agreed = isinstance(exception, Stopped)  # by them, too
        if trainer.strategy.launcher is not None and not agreed:
            trainer.strategy.launcher.kill(signal.SIGTERM)
