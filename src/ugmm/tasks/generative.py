"""Training a model of features and label together: by a normalised objective, or the paper's."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ugmm.density import Ensemble, Estimate, TiltedGaussian, VicinalNoise, fill_gaps
from ugmm.errors import UGMMWarning
from ugmm.nn import Classifier
from ugmm.objectives import Objective, RankingNCE
from ugmm.tasks.classification import ClassificationTask
from ugmm.tasks.measures import Mean
from ugmm.tasks.remake import remake
from ugmm.tasks.task import Batch

__all__ = ["GenerativeTask"]

_VALIDATION_DRAWS = 2**14  # for Z at each validation: an error of 0.01 nats or so is enough there


class GenerativeTask(ClassificationTask):
    r"""A density p(x, y) of features and label, or the paper's score of them.

    The class posterior comes from evaluating every label. Validation and test also log
    `log_prob`, the mean of log p(x, y) in nats, of the features as the data module serves them;
    for a tilted Gaussian Z is estimated before each. Where features have levels, and none may be
    missing, they log `bits_per_dim`, too, the mean of -log2 p(x) / D of the D features. A test
    estimates Z in two ways, and logs both with their errors; `log_prob_raw` is `log_prob` in the
    data's own units.

    With an objective that is the paper's score, validation and test log `score` too.

    Arguments:
        network: A density, whose class scores are log p(x, c).
        n_classes: Number of classes.
        objective: What is minimised; by default `ugmm.objectives.RankingNCE`.
        noise: Width of the vicinal noise on training rows (see `ugmm.density.VicinalNoise`);
            None takes Silverman's rule, 0 adds none.
        z_draws: Draws for each estimate of Z at the test.
        has_label: Whether the label is modelled; else only the density is reported.
        optimizer: See `Task`.
        schedule: See `Task`.
    """

    def __init__(
        self,
        network: Classifier | Mapping[str, Any],
        n_classes: int,
        objective: Objective | Mapping[str, Any] | None = None,
        noise: float | None = None,
        z_draws: int = 2**18,
        has_label: bool = True,
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(network, n_classes, optimizer, schedule)
        self.objective: Objective = remake(objective, Objective, "objective") or RankingNCE()
        self.noise_width = noise
        self.noise: VicinalNoise | None = None
        self.z_draws = z_draws
        self.has_label = has_label
        for split, metrics in (("val", self.val_metrics), ("test", self.test_metrics)):
            added: dict[str, Metric | MetricCollection] = {"log_prob": Mean()}
            if self.network.levels is not None and not self.network.missing:
                added["bits_per_dim"] = Mean()
            if not has_label:
                only = MetricCollection(added, prefix=f"{split}/", compute_groups=False)
                setattr(self, f"{split}_metrics", only)
                continue
            if self.objective.is_score:
                added["score"] = Mean()
            metrics.add_metrics(added)
        self.last_batch: tuple[Tensor, Tensor, Tensor] | None = None
        self.estimates: list[tuple[Estimate, Estimate]] = []

    @property
    def members(self) -> list[Classifier]:
        """The densities that are trained: an ensemble's, or the one network."""
        return list(self.network) if isinstance(self.network, Ensemble) else [self.network]

    @property
    def tilted(self) -> list[TiltedGaussian]:
        """Those of them whose Z must be estimated."""
        return [member for member in self.members if isinstance(member, TiltedGaussian)]

    def prepare(self, x: Tensor, y: Tensor) -> None:
        """Fit what is not trained by gradients to the training rows: base, proposal, noise.

        Where values are missing they are drawn for this, by `ugmm.density.fill_gaps`.
        """
        y = self.labels(y)
        x = fill_gaps(x, y)
        if self.noise_width != 0:
            self.noise = VicinalNoise(x.shape[1], self.noise_width)
            self.noise.fit(x, y)
        for density in self.tilted:
            density.fit_base(x, y)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the objective of a batch; of an ensemble, the sum over its members."""
        y = self.labels(y)
        losses = []
        for density in self.members:
            noisy = x if self.noise is None else self.noise(x)
            losses.append(self.objective.loss(density, noisy, y))
        # The last member's claim: what its loss says of log p, to be verified at a validation.
        self.last_batch = (noisy.detach(), y, losses[-1].detach())
        return torch.stack(losses).sum()

    def on_validation_epoch_start(self) -> None:
        """Estimate Z of the network as it is now; compare what the loss claimed with it."""
        for density in self.tilted:
            density.normalize(_VALIDATION_DRAWS)
        if self.last_batch is None:
            return
        x, y, loss = self.last_batch
        last = self.members[-1]
        claimed = self.objective.claim(last, x, loss)
        if claimed is not None:
            several = self.trainer.world_size > 1
            self.log("train/claimed", claimed.float(), sync_dist=several)
            self.log("train/log_prob", last(x, y).mean(), sync_dist=several)

    def on_predict_epoch_start(self) -> None:
        """Estimate Z of the network as it is now."""
        for density in self.tilted:
            density.normalize(self.z_draws)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make room for the noise that was fitted, where nothing has been prepared here."""
        fitted = checkpoint["state_dict"].get("noise.tril")
        if self.noise is None and fitted is not None:
            self.noise = VicinalNoise(len(fitted), self.noise_width)

    def on_test_epoch_start(self) -> None:
        """Estimate Z in two ways, and warn loudly if they disagree."""
        self.estimates = [
            (density.normalize(self.z_draws), density.second_estimate(self.z_draws))
            for density in self.tilted
        ]
        for first, second in self.estimates:
            if not first.agrees_with(second):
                warnings.warn(
                    f"Z is not known: log Z is {first.value:.4f} +- {first.error:.4f} by "
                    f"importance sampling, {second.value:.4f} +- {second.error:.4f} by Sobol "
                    "points; do not trust log_prob (more task.noise or task.z_draws may help)",
                    UGMMWarning,
                    stacklevel=2,
                )

    def on_test_epoch_end(self) -> None:
        """Log what is known of Z, and the density in raw units."""
        super().on_test_epoch_end()
        to_raw = getattr(self.trainer.datamodule, "log_jacobian", 0.0)  # type: ignore[attr-defined]
        if to_raw:
            self.log("test/log_prob_raw", self.test_metrics["log_prob"].compute() + to_raw)
        for name, value in _summary(self.estimates).items():
            self.log(f"test/{name}", value)

    def update(self, metrics: MetricCollection, batch: Batch) -> tuple[Tensor, Tensor]:
        """Add a batch to a split's metrics; return its class scores and its labels."""
        scores, y = super().update(metrics, batch)
        if "bits_per_dim" in metrics.keys(keep_base=True):
            bits = -scores.logsumexp(-1) / math.log(2)
            metrics["bits_per_dim"].update(bits / batch[0].shape[-1])
        if "score" in metrics.keys(keep_base=True):
            for density in self.tilted:
                metrics["score"].update(density.score(batch[0], y))
        return scores, y

    def labels(self, y: Tensor) -> Tensor:
        """The labels that the network knows: all 0 where it knows none."""
        return y if self.has_label else torch.zeros_like(y)


def _summary(estimates: list[tuple[Estimate, Estimate]]) -> dict[str, float]:
    """Means over the members of an ensemble; the worst of their errors."""
    if not estimates:
        return {}
    n = len(estimates)
    return {
        "log_z": math.fsum(first.value for first, _ in estimates) / n,
        "log_z_error": max(first.error for first, _ in estimates),
        "log_z_sobol": math.fsum(second.value for _, second in estimates) / n,
        "log_z_sobol_error": max(second.error for _, second in estimates),
        "effective_draws": min(first.effective for first, _ in estimates),
    }
