"""Writing checkpoints: whole or not at all, and stamped with their configuration."""

import io
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ugmm.checkpoints import FORMAT, Stamp, read_checkpoint, seal
from ugmm.config.frozen import to_yaml
from ugmm.config.schema import Config
from ugmm.data import InMemoryDataModule
from ugmm.metrics import VALIDATED
from ugmm.training.saving.rotation import rotate
from ugmm.writing import make_folder, replacing

__all__ = ["AtomicCheckpointIO", "KeepBest", "StampCheckpoints", "batches_done"]


def batches_done(trainer: Trainer) -> int | None:
    """Return how many batches of the epoch under way are done; None if its training is over."""
    epochs: Any = trainer.fit_loop.epoch_progress.current
    return trainer.fit_loop.batch_idx + 1 if epochs.processed < epochs.started else None


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, then rename: Lightning's own goes by way of the system's /tmp.

    What is read is checked as everywhere.

    Arguments:
        last: The last checkpoint, beside which those before it are kept.
        keep: How many are, the last one among them.
    """

    def __init__(self, last: Path, keep: int) -> None:
        super().__init__()
        self.last = last
        self.keep = keep

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Save a checkpoint."""
        path = Path(path)
        make_folder(path.parent)
        content = io.BytesIO()  # torch's own writing never says that a disk is full
        torch.save(checkpoint, content)
        with replacing(path) as temporary:
            temporary.write_bytes(seal(content.getvalue()))
            if path == self.last:
                rotate(path, self.keep)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = None,  # noqa: ARG002
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Read a checkpoint of ours, checked."""
        return read_checkpoint(path).content


class StampCheckpoints(Callback):
    """Put into checkpoints what tells, without Lightning, whose they are and how good.

    Arguments:
        config: The resolved configuration.
        data: The data module, which is set up by the time that a checkpoint is saved.
        run_id: What tells the run from all others; None if it is from before there was one.
        seconds: What training took before it was interrupted.
    """

    def __init__(
        self, config: Config, data: InMemoryDataModule, run_id: str | None, seconds: float
    ) -> None:
        self.config = to_yaml(config)
        self.data = data
        self.run_id = run_id
        self.began = time.perf_counter() - seconds
        self.validation: dict[str, float] = {}

    def seconds(self) -> float:
        """Return how long training has taken, interruptions not counted."""
        return time.perf_counter() - self.began

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Forget the validation of the epoch before."""
        self.validation = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Keep what this epoch's validation measured."""
        names = [f"val/{metric.name}" for metric in VALIDATED]
        found = trainer.callback_metrics
        self.validation = {name: float(found[name]) for name in names if name in found}

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add the stamp."""
        stamp = Stamp(
            format=FORMAT,
            config=self.config,
            n_features=self.data.n_features,
            n_classes=self.data.n_classes,
            seconds=self.seconds(),
            spec=self.data.spec.to_json(),
            run_id=self.run_id,
            validation=self.validation,
            batch=batches_done(trainer),
        )
        checkpoint["ugmm"] = asdict(stamp)


class KeepBest(Checkpoint):
    """Save a checkpoint whenever the validation is better than it has been.

    What it has been is read from the checkpoint that is there, and never remembered beside it.
    Lightning calls this and `KeepLast`, both `Checkpoint`s, after all other callbacks.

    Arguments:
        path: Where to; each replaces the one before.
        stamp: Knows the validation.
        monitor: The metric that decides.
        goal: Whether the best is its minimum or its maximum.
        best: The epoch and the value of the checkpoint at `path`, if there is one.
    """

    def __init__(
        self,
        path: Path,
        stamp: StampCheckpoints,
        monitor: str,
        goal: str,
        best: tuple[int, float] | None = None,
    ) -> None:
        self.path = path
        self.stamp = stamp
        self.monitor = monitor
        self.sign = 1 if goal == "max" else -1
        self.epoch = None if best is None else best[0]
        self.rank = -math.inf if best is None else self._rank(best[1])

    def _rank(self, value: float) -> float:
        return -math.inf if math.isnan(value) else self.sign * value

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save, if the epoch was validated and is the best."""
        if not self.stamp.validation:
            return
        rank = self._rank(self.stamp.validation[self.monitor])
        if rank > self.rank or self.epoch is None:
            self.epoch, self.rank = trainer.current_epoch, rank
            trainer.save_checkpoint(self.path, weights_only=False)

    def on_save_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add to the stamp of any checkpoint which epoch is the best so far."""
        checkpoint["ugmm"]["best_epoch"] = self.epoch
