"""What is measured of class scores, added up batch by batch and over all ranks.

torchmetrics has these too, among hundreds whose import takes longer than a small training.
"""

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ugmm.calibration import bin_confidences
from ugmm.nn.labels import count_labels, pick_scores

__all__ = ["CalibrationError", "Confusion", "Lines", "Mean", "split_metrics", "update_metrics"]


class Mean(Metric):
    """The mean of values."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add values, of any shape."""
        self.total += values.to(self.total).sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """Return the mean; NaN if there are none."""
        return self.total / self.count


class CalibrationError(Metric):
    """The expected calibration error, by the bins of the reliability diagram."""

    confidences: list[Tensor]
    correct: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("confidences", "correct"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, posterior: Tensor, y: Tensor) -> None:
        """Add class posteriors (batch, classes) and labels (batch,)."""
        confidence, predicted = posterior.max(-1)
        self.confidences.append(confidence.float())
        self.correct.append((predicted == y).float())

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return the confidence of each row and whether it is right, (n,) each, on the CPU."""
        # Several ranks' are one tensor by now, where they have been gathered.
        found = (self.confidences, self.correct)
        confidence, correct = (
            (torch.cat(rows) if isinstance(rows, list) else rows).cpu() for rows in found
        )
        return confidence, correct

    def compute(self) -> Tensor:
        """Return the error of all rows, of all ranks."""
        confidence, correct = self.rows()
        error = bin_confidences(confidence.numpy(), correct.numpy()).error
        return confidence.new_tensor(error, device=self.device)


class Lines(Metric):
    """What was computed of each row, (n, k), of all ranks: one rank's rows before the next's."""

    lines: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("lines", [], dist_reduce_fx="cat")

    def update(self, lines: Tensor) -> None:
        """Add a batch's, (batch, k)."""
        self.lines.append(lines)

    def compute(self) -> Tensor:
        """Return all rows'."""
        return torch.cat(self.lines) if isinstance(self.lines, list) else self.lines


class Confusion(Metric):
    """How often each class was taken for each: (C, C), rows the true classes.

    Arguments:
        n_classes: C.
    """

    counts: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.add_state("counts", torch.zeros(n_classes**2, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, scores: Tensor, y: Tensor) -> None:
        """Add class scores (batch, classes) and labels (batch,)."""
        pairs = y * self.n_classes + scores.argmax(-1)
        self.counts += count_labels(pairs, self.n_classes**2)

    def compute(self) -> Tensor:
        """Return the counts."""
        return self.counts.reshape(self.n_classes, self.n_classes)


def split_metrics(split: str) -> MetricCollection:
    """Return what is measured of class scores: `split/accuracy`, `split/nll` and `split/ece`."""
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": Mean(),
        "nll": Mean(),
        "ece": CalibrationError(),
    }
    return MetricCollection(metrics, prefix=f"{split}/", compute_groups=False)


def update_metrics(metrics: MetricCollection, scores: Tensor, y: Tensor) -> None:
    """Add class scores (batch, classes) and labels (batch,) to what metrics there are."""
    log_posterior = scores.float().log_softmax(-1)
    metrics_of = {
        "accuracy": (scores.argmax(-1) == y,),
        "nll": (-pick_scores(log_posterior, y),),
        "ece": (log_posterior.exp(), y),
        "log_prob": (pick_scores(scores, y),),
    }
    for name in metrics.keys(keep_base=True):
        if name in metrics_of:
            metrics[name].update(*metrics_of[name])
