"""Training a network to tell classes apart."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ugmm.nn import Classifier
from ugmm.nn.labels import count_labels
from ugmm.objectives import ClassificationObjective, CrossEntropy
from ugmm.tasks.class_metrics import balanced_weights
from ugmm.tasks.classification import ClassificationTask
from ugmm.tasks.remake import remake

__all__ = ["DiscriminativeTask"]


class DiscriminativeTask(ClassificationTask):
    r"""One output per class, trained by a loss of the class scores.

    Also logs `train/accuracy`, under dropout and before each step.

    Arguments:
        network: Maps (batch, features) to (batch, classes).
        n_classes: Number of classes.
        objective: What is minimised; by default `ugmm.objectives.CrossEntropy`.
        optimizer: See `Task`.
        schedule: See `Task`.
        class_weights: "balanced" weighs the loss of a row by its class, so that all classes have
            as much weight: :math:`n / (C \, n_c)` with the :math:`n_c` training rows of the class.
            `prepare` must be called with those, as a run does. "none" weighs all rows alike.
    """

    weights: Tensor | None

    def __init__(
        self,
        network: Classifier | Mapping[str, Any],
        n_classes: int,
        objective: ClassificationObjective | Mapping[str, Any] | None = None,
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        class_weights: Literal["none", "balanced"] = "none",
    ) -> None:
        super().__init__(network, n_classes, optimizer, schedule)
        self.n_classes, self.is_balanced = n_classes, class_weights == "balanced"
        self.register_buffer("weights", None, persistent=False)
        self.objective: ClassificationObjective = (
            remake(objective, ClassificationObjective, "objective") or CrossEntropy()
        )
        self.right: Tensor | int = 0  # of the rows seen in this epoch; a metric would be slow
        self.seen = 0

    def prepare(self, x: Tensor, y: Tensor) -> None:  # noqa: ARG002
        """Weigh the classes by their training rows, if that is asked for; tell their shares."""
        rows = count_labels(y, self.n_classes)
        self.weigh(balanced_weights(rows) if self.is_balanced else None, y)

    def weigh(self, weights: Tensor | None, y: Tensor) -> None:
        """Multiply the loss of each row by the weight of its class; tell the classes' shares.

        Args:
            weights: Of the classes, (C,); None weighs all alike.
            y: The labels of the training rows, (n,).
        """
        shares = count_labels(y, self.n_classes).clamp(min=1).float()
        if weights is not None:
            self.weights = weights.to(self.device, shares.dtype)
            shares = shares * self.weights.cpu()
        self.network.set_prior(shares / shares.sum())

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the objective of a batch."""
        scores = self(x)
        self.right = self.right + (scores.detach().argmax(-1) == y).sum()
        self.seen += len(y)
        if self.is_balanced and self.weights is None:
            raise RuntimeError("class_weights='balanced': call prepare(x, y) before training")
        if self.weights is None:
            return self.objective.of_scores(scores, y)
        return self.objective.of_scores(scores, y, self.weights)

    def on_train_epoch_end(self) -> None:
        """Log the accuracy over the epoch's training batches.

        Now: `log` hands it to the loggers after the epoch's checkpoint, from which a run that was
        killed between the two would go on without it.
        """
        right, seen = self._count()
        self.record({"train/accuracy": right / seen})
        self.right, self.seen = 0, 0

    def _count(self) -> Tensor:
        """Return of how many rows all ranks were right in this epoch, and how many they saw."""
        own = torch.tensor([int(self.right), self.seen], device=self.device)
        return self.trainer.strategy.reduce(own, reduce_op="sum")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save in the midst of an epoch what its accuracy is made of; all ranks do this."""
        super().on_save_checkpoint(checkpoint)
        if self.seen:
            checkpoint["seen"] = dict(zip(("right", "seen"), self._count().tolist(), strict=True))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it, on one rank for all."""
        saved = checkpoint.get("seen")
        if saved is not None and self.global_rank == 0:
            self.right, self.seen = saved["right"], saved["seen"]
