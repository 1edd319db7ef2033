"""How sure a network is where it should not be: digits turned, spoiled, and no digits."""

from typing import Protocol, cast, runtime_checkable

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ugmm.data import MNISTDataModule
from ugmm.data.files.fashion import read_fashion
from ugmm.data.images import CORRUPTIONS, corrupted, observed_pixels, rotated
from ugmm.data.mnist import image_rows
from ugmm.nn import Classifier
from ugmm.tasks.measures import split_metrics, update_metrics

__all__ = ["ANGLES", "MISSING", "foreign_images", "score_robustness"]

ANGLES = (15, 30, 45, 60, 75, 90)  # degrees
MISSING = (25, 50, 75, 90)  # percent of the pixels
_BATCH = 500


@runtime_checkable
class CanLeaveOut(Protocol):
    """A network that needs not know all of its inputs."""

    def marginal_class_scores(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return the class scores of inputs (n, D), of which some are not known."""


@torch.no_grad()
def score_robustness(network: Classifier, data: MNISTDataModule) -> dict[str, float]:
    """Test a network on digits turned, spoiled and half hidden, and on clothes.

    Returns:
        `rotated_30/accuracy`, `/nll` and `/ece`, of digits turned by so many degrees;
        `noisy/...`, and so on, of digits spoiled in the ways of `ugmm.data.images.corrupted`;
        `filled_50/...`, with so many percent of the pixels replaced by their training mean, and
        `missing_50/...`, with these pixels left out, if the network can do that;
        `fashion/auroc_posterior` and `fashion/auroc_score`: how well images of clothes are told
        from digits by the largest class posterior, and by the log-sum of the class scores (the
        energy score of Liu et al., arXiv:2010.03759; of a density, log p(x)).
    """
    network = network.eval()
    x, y = data.splits["test"]
    results: dict[str, float] = {}

    def test(name: str, scores: Tensor) -> None:
        metrics = split_metrics(name)
        update_metrics(metrics, scores, y)
        results.update({key: float(value) for key, value in metrics.compute().items()})

    for angle in ANGLES:
        turned = rotated(x, data.image_shape, angle)
        test(f"rotated_{angle}", _scores(network, turned))
    for kind in CORRUPTIONS:
        test(kind, _scores(network, corrupted(x, data.image_shape, kind, seed=0)))
    mean = data.splits["train"].x.mean(0)
    for percent in MISSING:
        observed = observed_pixels(x, percent / 100, seed=percent)
        test(f"filled_{percent}", _scores(network, torch.where(observed, x, mean)))
        if isinstance(network, CanLeaveOut):
            test(f"missing_{percent}", _scores(network, x, observed))
    inside, outside = (_scores(network, images) for images in (x, foreign_images()))
    for name, sureness in (("posterior", _largest_posterior), ("score", _log_sum)):
        known, foreign = sureness(inside), sureness(outside)
        is_digit = torch.cat([torch.ones_like(known), torch.zeros_like(foreign)])
        auroc = roc_auc_score(is_digit.numpy(), torch.cat([known, foreign]).numpy())
        results[f"fashion/auroc_{name}"] = float(auroc)
    return results


def foreign_images() -> Tensor:
    """Return Fashion-MNIST's test images as the digits are served: (10000, 784)."""
    return image_rows(*read_fashion()["test"]).x


def _scores(network: Classifier, x: Tensor, observed: Tensor | None = None) -> Tensor:
    """Return the class scores of rows, on the CPU in float64."""
    like = next(network.parameters())
    parts = []
    with network.prepared():
        for start in range(0, len(x), _BATCH):
            rows = x[start : start + _BATCH].to(like)
            if observed is None:
                scores = network.class_scores(rows)
            else:
                known = observed[start : start + _BATCH].to(like.device)
                scores = cast(CanLeaveOut, network).marginal_class_scores(rows, known)
            parts.append(scores.double().cpu())
    return torch.cat(parts)


def _largest_posterior(scores: Tensor) -> Tensor:
    return scores.log_softmax(-1).amax(-1)  # in logarithms: probabilities near 1 would be ties


def _log_sum(scores: Tensor) -> Tensor:
    return scores.logsumexp(-1)
