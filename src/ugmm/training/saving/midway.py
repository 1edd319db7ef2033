"""What a run needs to go on in the midst of an epoch: its next batches and random numbers."""

import random
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ugmm.training.saving.checkpoint import batches_done

__all__ = ["GoOnMidway", "collect_states", "restore_states"]


class GoOnMidway(Callback):
    """Save in the midst of an epoch which batches and random numbers come next; go on with them.

    Those of the leading process are everyone's: all are seeded alike as an epoch starts, and draw
    alike. (Lightning would save where the batches stand, and go on there, but not where an
    optimiser's schedule has asked for the number of steps before.)
    """

    def __init__(self) -> None:
        self.saved: dict[str, Any] | None = None

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Save them; at the end of an epoch there is nothing to save."""
        if batches_done(trainer) is not None:
            batches: Any = trainer.train_dataloader
            states = collect_states(trainer.strategy.root_device)
            checkpoint["midway"] = {"batches": batches.state_dict(), "random": states}

    def on_load_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Keep what was saved until training starts."""
        self.saved = checkpoint.get("midway") if trainer.state.fn == "fit" else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Go on with them."""
        if self.saved is not None:
            batches: Any = trainer.train_dataloader
            batches.load_state_dict(self.saved["batches"])
            restore_states(self.saved["random"], trainer.strategy.root_device)
            self.saved = None


def collect_states(device: torch.device) -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's generators, as checkpoints hold them.

    Args:
        device: On which the training runs.
    """
    own: Any = np.random.get_state()  # noqa: NPY002  (what `SeedEpochs` has seeded)
    _, keys, *rest = own
    states = {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def restore_states(states: dict[str, Any], device: torch.device) -> None:
    """Bring back what `collect_states` returned, less the generators of other devices."""
    random.setstate(states["python"])
    keys, *rest = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type])
