"""Writing checkpoints: whole or not at all, and stamped with their configuration."""

import io
import time
from pathlib import Path
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from ugmm.config.frozen import to_yaml
from ugmm.config.schema import Config
from ugmm.data import InMemoryDataModule
from ugmm.loading import FORMAT
from ugmm.writing import make_folder, write_atomic

__all__ = ["AtomicCheckpointIO", "KeepLast", "Stamp"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, then rename: Lightning's own goes by way of the system's /tmp."""

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
        write_atomic(path, content.getvalue())


class Stamp(Callback):
    """Put the format, the configuration, what a row is and the time spent into checkpoints.

    Arguments:
        config: The resolved configuration.
        data: The data module, which is set up by the time that a checkpoint is saved.
        seconds: What training took before it was interrupted.
    """

    def __init__(self, config: Config, data: InMemoryDataModule, seconds: float = 0.0) -> None:
        self.config = to_yaml(config)
        self.data = data
        self.began = time.perf_counter() - seconds

    def seconds(self) -> float:
        """Return how long training has taken, interruptions not counted."""
        return time.perf_counter() - self.began

    def on_save_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add the stamp."""
        checkpoint["ugmm"] = {
            "format": FORMAT,
            "config": self.config,
            "seconds": self.seconds(),
            "n_features": self.data.n_features,
            "n_classes": self.data.n_classes,
            "spec": self.data.spec.to_json(),
        }


class KeepLast(Callback):
    """Save a checkpoint to resume from: after every `epochs` epochs, and after the final one.

    Arguments:
        path: Where to; each replaces the one before.
        epochs: How often.
    """

    def __init__(self, path: Path, epochs: int) -> None:
        self.path = path
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save, if it is time; by then the epoch's validation is over."""
        done = trainer.current_epoch + 1
        if done % self.epochs == 0 or done == trainer.max_epochs:
            trainer.save_checkpoint(self.path, weights_only=False)  # the optimiser too
