"""When a run saves the checkpoint that it goes on from, and when it stops to go on later."""

import time
from pathlib import Path
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ugmm.cluster.preemption import Notice
from ugmm.cluster.processes import is_leading
from ugmm.cluster.signals import Stopped
from ugmm.config.training import CheckpointConfig
from ugmm.training.callbacks import StopOnNonFinite
from ugmm.training.saving.agreement import Agreement
from ugmm.training.saving.checkpoint import batches_done

__all__ = ["KeepLast", "name_place"]


def name_place(epochs: int, steps: int | None) -> str:
    """Return in words where a run stands.

    Args:
        epochs: How many are over.
        steps: How many in all, if it is in the midst of an epoch.
    """
    return f"epoch {epochs}" + ("" if steps is None else f", step {steps}")


class KeepLast(Checkpoint):
    """Save a checkpoint to resume from, and stop behind one where the run has been told to.

    It is saved after every `epochs` epochs, after the final one, every so many steps and minutes,
    and before a stop. It comes after `KeepBest`: of a process killed between the two, what is
    resumed does the epoch again, and finds that the best is no better than it.

    All processes of a run agree between two steps, and leave together: one that stopped, or saved,
    in the handler of a signal would leave the others waiting for it. Between the last step of an
    epoch and its end, with its validation, they do not stop.

    Arguments:
        path: Where to; each replaces the one before.
        epochs: How often.
        settings: How often beside that.
        notice: Knows when to stop.
        guard: Looks at the loss before anything is saved.
        timeout: How many seconds to wait for the others.
    """

    def __init__(
        self,
        path: Path,
        epochs: int,
        settings: CheckpointConfig,
        notice: Notice,
        guard: StopOnNonFinite,
        timeout: float,
    ) -> None:
        self.path = path
        self.epochs = epochs
        self.settings = settings
        self.notice = notice
        self.guard = guard
        self.timeout = timeout

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Come after the task's own hook, which logs a step that would else be saved without."""
        if stage != "fit":
            return
        log_step = pl_module.on_train_batch_end

        def on_train_batch_end(*batch: Any) -> None:
            log_step(*batch)
            self.on_step(trainer, pl_module)

        pl_module.on_train_batch_end = on_train_batch_end  # type: ignore

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Meet the other processes."""
        self.agreement = Agreement(trainer.world_size, self.timeout)
        self.saved, self.saved_step = time.monotonic(), trainer.global_step

    def on_step(self, trainer: Trainer, task: LightningModule) -> None:
        """Save or stop, if it is time, between two steps of an epoch."""
        done = batches_done(trainer) or 0
        if done % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch:
            self._act(trainer, task, due=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save or stop, if it is time; by then the epoch's validation is over."""
        done = trainer.current_epoch + 1
        due = done % self.epochs == 0 or done == trainer.max_epochs or trainer.should_stop
        self._act(trainer, pl_module, due=due)

    def _act(self, trainer: Trainer, task: LightningModule, *, due: bool) -> None:
        signum, save = self.agreement.reach(self.notice.signum(), self._is_after_minutes(trainer))
        if due or save or signum or self._is_after_steps(trainer):
            self.guard.look(trainer, task)
            trainer.save_checkpoint(self.path, weights_only=False)  # the optimiser too
            self.saved, self.saved_step = time.monotonic(), trainer.global_step
        if signum:
            is_between = batches_done(trainer) is not None
            place = name_place(
                trainer.current_epoch + (not is_between),
                trainer.global_step if is_between else None,
            )
            # Where some processes end with an error, launchers kill what has not ended yet.
            raise Stopped(128 + signum if is_leading() else 0, place)

    def _is_after_minutes(self, trainer: Trainer) -> bool:
        minutes = self.settings.every_minutes
        if minutes is None or not trainer.is_global_zero:  # whose clock is everyone's
            return False
        return time.monotonic() - self.saved >= 60 * minutes

    def _is_after_steps(self, trainer: Trainer) -> bool:
        steps, done = self.settings.every_steps, trainer.global_step
        return steps is not None and done > self.saved_step and done % steps == 0
