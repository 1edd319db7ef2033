"""What an exported network answers: one module from a user's columns to a user's answers."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from ugmm.answers import DENSITY, LEVEL, interval_names
from ugmm.density import TiltedGaussian
from ugmm.density.gaussian import Gaussian
from ugmm.deploy.exports.columns import Features
from ugmm.errors import UserError
from ugmm.trained import TrainedNetwork, TrainedRegressor

__all__ = ["OF_CLASSES", "OF_NUMBERS", "Answers", "answering"]

OF_CLASSES = ("probabilities", "label")
OF_NUMBERS = ("mean", "stddev", *interval_names(LEVEL))


class Answers(nn.Module):
    """Answers to rows in a user's columns and units; NaN, and class -1, to rows that are refused.

    Arguments:
        features: Makes features of columns.
        network: In evaluation mode.

    Attributes:
        names: What the outputs are called.
    """

    names: tuple[str, ...]
    network: Any

    def __init__(self, features: Features, network: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.network = network.requires_grad_(False).eval()

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        """Return the answers."""
        x, refused = self.features(*columns)
        return tuple(
            answer.masked_fill(
                refused.unsqueeze(-1) if answer.dim() > 1 else refused,
                math.nan if answer.is_floating_point() else -1,
            )
            for answer in self.answer(x)
        )

    def answer(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the answers to features in model units (n, N)."""
        raise NotImplementedError


class _OfClasses(Answers):
    """Those of a `TrainedNetwork`.

    Where there are classes, `probabilities` (n, C) and `label` (n,), the number of the best; where
    the network is a density, `log_density` (n,), in nats and in the user's units.
    """

    log_std: Tensor

    def __init__(self, trained: TrainedNetwork, network: nn.Module) -> None:
        super().__init__(Features(trained.spec), network)
        spec = trained.spec
        with torch.no_grad():
            n = self.network.class_scores(torch.zeros(1, spec.n_features)).shape[-1]
        self.has_classes, self.is_density = n > 1, self.network.normalized
        self.names = OF_CLASSES * self.has_classes
        self.names += (DENSITY,) * self.is_density
        logs = torch.tensor(spec.std or (1.0,) * spec.n_features, dtype=torch.float64).log()
        self.register_buffer("log_std", logs, persistent=False)

    def answer(self, x: Tensor) -> tuple[Tensor, ...]:
        """See `Answers.answer`."""
        network, found = self.network, []
        # As `TrainedNetwork` asks: a base would round the posterior away far out.
        is_tilted = isinstance(network, TiltedGaussian)
        scores = (network.score if is_tilted else network).class_scores(x)
        if self.has_classes:
            found += [scores.softmax(-1), scores.argmax(-1)]
        if self.is_density:
            log_prob = scores.double().logsumexp(-1)
            if is_tilted:
                log_prob = log_prob + network.base.log_prob(x) - network.log_z
            known = (~x.isnan()).double() if network.missing else torch.ones_like(x).double()
            found.append(log_prob - (known * self.log_std).sum(-1))
        return tuple(found)


class _OfNumbers(Answers):
    """Those of a `TrainedRegressor`: (n,) float64 each, in the target's units."""

    names = OF_NUMBERS

    def __init__(self, trained: TrainedRegressor, network: nn.Module) -> None:
        super().__init__(Features(trained.spec), network)
        assert trained.spec.target is not None
        self.target = trained.spec.target

    def answer(self, x: Tensor) -> tuple[Tensor, ...]:
        """See `Answers.answer`."""
        found, (mean, std) = self.network.predictive(x), (self.target.mean, self.target.std)
        numbers = (found.mean, *found.interval(LEVEL))
        middle, *ends = (each.double() * std + mean for each in numbers)
        return middle, found.variance.double().sqrt() * std, *ends


def answering(trained: TrainedNetwork | TrainedRegressor, *, plain: bool) -> Answers:
    """Return the module that answers as a trained network does.

    Args:
        trained: The network.
        plain: Whether to do without operations that ONNX has not; the weights are then not all
            the network's own.

    Raises:
        UserError: If it cannot answer in one pass.
    """
    if isinstance(trained, TrainedRegressor):
        return _OfNumbers(trained, copy.deepcopy(trained.network).cpu())
    if trained.network.normalized:
        trained.normalize()
    network = copy.deepcopy(trained.network).cpu()
    for module in network.modules():
        if not isinstance(module, TiltedGaussian):
            continue
        if module.missing:
            raise UserError(
                "this network draws what a row lacks, which no graph does; train it with "
                "data.missing=mean, or export it with --to safetensors"
            )
        if plain:
            module.base = _Explicit(module.base)  # type: ignore[assignment]
    return _OfClasses(trained, network)


class _Explicit(nn.Module):
    """The log-density of a `Gaussian`, by the inverse of its triangle: ONNX solves no systems."""

    def __init__(self, base: Gaussian) -> None:
        super().__init__()
        tril, unit = base.tril.double(), torch.eye(len(base.tril), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(tril, unit, upper=False)
        self.inverse = nn.Parameter(inverse.T.contiguous())
        self.mean = nn.Parameter(base.mean.double())
        log_det = float(tril.diagonal().log().sum())
        self.constant = -log_det - 0.5 * len(tril) * math.log(2 * math.pi)

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Gaussian.log_prob`."""
        z = (x.double() - self.mean) @ self.inverse
        return self.constant - 0.5 * z.square().sum(-1)
