"""What tasks share whose networks tell classes apart."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import MetricCollection

from ugmm.nn import Classifier
from ugmm.tasks.class_metrics import balanced_accuracy, macro_f1
from ugmm.tasks.measures import Confusion, Lines, split_metrics, update_metrics
from ugmm.tasks.task import Batch, Task

__all__ = ["ClassificationTask"]


class ClassificationTask(Task):
    """What is measured of class scores.

    Validation and test log `accuracy`, `nll` (the mean negative log-posterior of the label, in
    nats) and `ece` (expected calibration error, 15 bins of equal width); a test logs
    `balanced_accuracy` and `macro_f1`, too, and leaves `scores` (n, C), `confusion` (C, C),
    `confidence` (n,) and `correct` (n,) in `test_record`.

    Arguments:
        network: Scores the classes; see `Task`.
        n_classes: Number of classes.
        optimizer: See `Task`.
        schedule: See `Task`.

    Raises:
        TypeError: If the network does not score classes.
    """

    network: Classifier
    network_kind = Classifier
    watched: ClassVar[str] = "val/nll"
    has_label = True  # or there is one class only, and nothing to tell apart

    def __init__(
        self,
        network: Classifier | Mapping[str, Any],
        n_classes: int,
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule)
        if not hasattr(self.network, "class_scores"):
            raise TypeError(
                f"network must be a ugmm.nn.Classifier, and is a {type(self.network).__name__}: "
                "derive a class of your own from it, which needs no more than forward"
            )
        self.val_metrics = split_metrics("val")
        self.test_metrics = split_metrics("test")
        self.confusion = Confusion(n_classes)
        self.scores = Lines()

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores: (..., features) to (..., classes)."""
        return self.network.class_scores(x)

    def update(self, metrics: MetricCollection, batch: Batch) -> tuple[Tensor, Tensor]:
        """Add a batch to a split's metrics; return its class scores and its labels."""
        x, y = batch
        scores, y = self(x), self.labels(y)
        update_metrics(metrics, scores, y)
        return scores, y

    def keep(self, predicted: Tensor, y: Tensor) -> None:
        """Keep the class scores, and count which classes were taken for which."""
        self.scores.update(predicted.float())
        if self.has_label:
            self.confusion.update(predicted, y)

    def on_test_epoch_end(self) -> None:
        """Gather, from all ranks, the scores, and what is drawn of them where there is a label."""
        self.test_record = {"scores": self.scores.compute().cpu()}
        self.scores.reset()
        if self.has_label:
            self._gather_errors()

    def _gather_errors(self) -> None:
        calibration: Any = self.test_metrics["ece"]
        with calibration.sync_context(should_sync=self.trainer.world_size > 1):
            confidence, correct = calibration.rows()
            self.test_record |= {"confidence": confidence, "correct": correct}
        confusion = self.confusion.compute().cpu()  # of all ranks
        self.confusion.reset()
        self.test_record["confusion"] = confusion
        self.log("test/balanced_accuracy", balanced_accuracy(confusion))
        self.log("test/macro_f1", macro_f1(confusion))
