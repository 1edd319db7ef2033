"""`trainer.averaging`: networks whose weights are averages over the steps of their training."""

import math
from collections.abc import Mapping
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from ugmm.config.training import AveragingConfig

__all__ = ["AverageWeights"]

_WARM_UP = 10  # EMA forgets its first steps sooner: their share at step t is (1 + t) / (10 + t)


class AverageWeights(Callback):
    """Average the network's weights, and its norms' running moments, while it is trained.

    Validations and the network in the end have the average, and training goes on without it. In
    a checkpoint `state_dict` is the average, and `averaging` holds what training goes on with.

    A logit that was -inf at any step that was taken in, as that of a pruned component is, stays so
    in the average: no mean of it and finite numbers is finite.

    References:
        EMA: B. Polyak and A. Juditsky, SIAM J. Control Optim. 30 (1992), with weights that decay.
        SWA: P. Izmailov et al., UAI 2018; without a second pass for the norms' moments.

    Arguments:
        settings: Which average: `ema`, of all steps, or `swa`, of the ends of epochs; its decay;
            and after which share of the epochs it begins.
        max_epochs: Of the training.
    """

    def __init__(self, settings: AveragingConfig, max_epochs: int) -> None:
        self.is_ema = settings.name == "ema"
        self.decay = settings.decay
        share = settings.start
        if share is None:
            share = 0.0 if self.is_ema else 0.75
        self.first_epoch = int(share * max_epochs)
        self.average: dict[str, Tensor] = {}  # by name; empty until it begins
        self.count = 0  # of what it is the average
        self.step = 0  # the last one that it has seen
        self.kept: dict[str, Tensor] = {}  # what training goes on with, during a validation

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the place from which a resumed run goes on."""
        self.step = trainer.global_step
        self.average = {name: t.to(pl_module.device) for name, t in self.average.items()}

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Take in the weights after a step, or at the end of an epoch."""
        stepped, self.step = trainer.global_step > self.step, trainer.global_step
        due = stepped if self.is_ema else trainer.is_last_batch
        if due and trainer.current_epoch >= self.first_epoch:
            self._take(_weights_of(pl_module.network))

    @torch.no_grad()
    def _take(self, weights: Mapping[str, Tensor]) -> None:
        decay = min(self.decay, (1 + self.count) / (_WARM_UP + self.count))
        share = 1 - decay if self.is_ema else 1 / (1 + self.count)
        for name, tensor in weights.items():
            if self.count == 0:
                self.average[name] = tensor.detach().clone()
            elif name.endswith("logits"):
                average = self.average[name]
                # The logit of a component that was pruned: lerp of two infinities is NaN.
                gone = average.isneginf() | tensor.isneginf()
                average.lerp_(tensor.detach(), share).masked_fill_(gone, -math.inf)
            else:
                self.average[name].lerp_(tensor.detach(), share)
        self.count += 1

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Put the average into the network."""
        if self.average:
            self.kept = {n: t.detach().clone() for n, t in _weights_of(pl_module.network).items()}
            _put(pl_module.network, self.average)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Take it out again."""
        if self.kept:
            _put(pl_module.network, self.kept)
            self.kept = {}

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Leave the average in the network."""
        _put(pl_module.network, self.average)

    def on_save_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: Any,
        checkpoint: dict[str, Any],
    ) -> None:
        """Save the average as the weights, and beside it what training goes on with."""
        if self.average:
            weights = {n: t.detach() for n, t in _weights_of(pl_module.network).items()}
            checkpoint["averaging"] = {"weights": weights, "count": self.count}
            for name, tensor in self.average.items():
                checkpoint["state_dict"][f"network.{name}"] = tensor

    def on_load_checkpoint(
        self,
        trainer: Trainer,
        pl_module: Any,
        checkpoint: dict[str, Any],
    ) -> None:
        """Go on with what was saved, in a run that is resumed; a test takes the average."""
        saved = checkpoint.get("averaging")
        if saved is not None and trainer.state.fn == "fit":
            self.count = saved["count"]
            self.average = {
                name: checkpoint["state_dict"][f"network.{name}"].clone()
                for name in saved["weights"]
            }
            _put(pl_module.network, saved["weights"])


def _weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return what is averaged, by name: parameters, and the moments that a BatchNorm keeps."""
    moments = ("running_mean", "running_var")
    buffers = ((n, b) for n, b in network.named_buffers() if n.rpartition(".")[2] in moments)
    return {**dict(network.named_parameters()), **dict(buffers)}


@torch.no_grad()
def _put(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = _weights_of(network)
    for name, tensor in weights.items():
        own[name].copy_(tensor)
