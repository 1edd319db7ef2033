"""Checkpoints: written whole or not at all, stamped with their configuration, read back safely."""

import pickle
import zipfile
from pathlib import Path
from typing import Any, Literal

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from ugmm.errors import UserError
from ugmm.experiment.compose import read_config, to_yaml
from ugmm.experiment.config import Config
from ugmm.nn import Classifier
from ugmm.runs import Run

__all__ = ["AtomicCheckpointIO", "KeepLast", "Stamp", "load", "load_network", "read_checkpoint"]

FORMAT = 1


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
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.writing")
        try:
            torch.save(checkpoint, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class Stamp(Callback):
    """Put the format's version, the configuration and the data's shape into every checkpoint.

    Arguments:
        config: The resolved configuration.
        n_features: Number of features of the data.
        n_classes: Number of classes.
    """

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        self.stamp = {
            "format": FORMAT,
            "config": to_yaml(config),
            "n_features": n_features,
            "n_classes": n_classes,
        }

    def on_save_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add the stamp."""
        checkpoint["ugmm"] = self.stamp


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


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything in it.

    Raises:
        UserError: If it is missing, corrupt, or not one of ours.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}") from None
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is corrupt and cannot be read; train again, or use another checkpoint"
        ) from error
    stamp = checkpoint.get("ugmm") if isinstance(checkpoint, dict) else None
    if not isinstance(stamp, dict):
        raise UserError(f"{path} is not a checkpoint of ugmm")
    if stamp["format"] != FORMAT:
        raise UserError(
            f"{path} has format {stamp['format']}, this version of ugmm reads {FORMAT}; "
            "load it with the version that wrote it (environment.json names it)"
        )
    return checkpoint


def load_network(network: nn.Module, path: Path) -> None:
    """Put a checkpoint's weights into the network of a task.

    Raises:
        UserError: If the checkpoint cannot be read or is of another architecture.
    """
    saved = {
        name.removeprefix("network."): tensor
        for name, tensor in read_checkpoint(path)["state_dict"].items()
        if name.startswith("network.")
    }
    expected = network.state_dict()
    for name in sorted({*saved, *expected}):
        shapes = [tuple(d[name].shape) if name in d else "absent" for d in (saved, expected)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{path} is of another architecture than its run's config.yaml: {name} is "
                f"{shapes[0]} there, {shapes[1]} by the configuration"
            )
    network.load_state_dict(saved)


def load(run: str | Path, checkpoint: Literal["best", "last"] | None = None) -> Classifier:
    """Return the trained network of a run folder, in evaluation mode.

    Its `predict`, `posterior` and `class_scores` take features as the run's data module serves
    them: standardised for Iris, pixels in [0, 1] for MNIST.

    Args:
        run: The run folder.
        checkpoint: Which one; by default, the one that was tested.

    Raises:
        UserError: If the folder, its configuration or its checkpoint cannot be used.
    """
    folder = Run.open(run)
    config = read_config(folder.config)
    path = {"best": folder.best, "last": folder.last}[checkpoint or config.trainer.test_checkpoint]
    stamp = read_checkpoint(path)["ugmm"]
    network = config.task.network(config.model, stamp["n_features"], stamp["n_classes"])
    load_network(network, path)
    return network.eval()
