"""Reading checkpoints back, without running anything in them and without Lightning."""

import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ugmm.config.frozen import from_yaml, read_config
from ugmm.config.schema import Config
from ugmm.errors import UserError
from ugmm.nn import Classifier
from ugmm.runs import Run

__all__ = ["FORMAT", "load", "read_checkpoint", "restore", "tested_checkpoint"]

FORMAT = 1  # of what `ugmm` adds to a checkpoint


def load(run: str | Path, checkpoint: Literal["best", "last"] | None = None) -> Classifier:
    """Return the trained network of a run folder, in evaluation mode.

    Its `predict`, `posterior` and `class_scores` take features as the run's data module serves
    them: standardised for tables, pixels in [0, 1] for MNIST.

    Args:
        run: The run folder.
        checkpoint: Which one; by default, the one that was tested.

    Raises:
        UserError: If the folder, its configuration or its checkpoint cannot be used.
    """
    folder = Run.open(run)
    config = read_config(folder)
    path = {None: tested_checkpoint(folder, config), "best": folder.best, "last": folder.last}
    saved = read_checkpoint(path[checkpoint], config)
    shape = saved["ugmm"]
    network = config.task.network(config.model, shape["n_features"], shape["n_classes"])
    restore(network, saved)
    return network.eval()


def tested_checkpoint(run: Run, config: Config) -> Path:
    """Return the path of the checkpoint that is tested at the end."""
    return run.best if config.trainer.test_checkpoint == "best" else run.last


def read_checkpoint(path: Path, config: Config) -> dict[str, Any]:
    """Read a checkpoint of a run.

    Args:
        path: The file.
        config: The run's configuration, with whose network the checkpoint must agree.

    Raises:
        UserError: If it is missing, corrupt, not one of ours, or of another network.
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
    if difference := _difference(from_yaml(stamp["config"], str(path)), config):
        raise UserError(
            f"{path} is of another architecture than its run's config.yaml: {difference}"
        )
    return checkpoint


def restore(network: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Put the weights of a checkpoint into the network of its task."""
    weights = {
        name.removeprefix("network."): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights)


def _difference(saved: Config, expected: Config) -> str:
    """Name the first setting in which the networks of two configurations differ."""
    for group in ("task", "model"):
        theirs, ours = (asdict(getattr(config, group)) for config in (saved, expected))
        for key in sorted({*theirs, *ours} - {"kernel"}):
            if theirs.get(key) != ours.get(key):
                return f"{group}.{key} is {theirs.get(key)} there and {ours.get(key)} here"
    return ""
