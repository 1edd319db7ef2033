"""Whether an export answers as the network does that it was made of."""

from collections.abc import Mapping

import numpy as np
import torch

from ugmm.answers import DENSITY, LEVEL
from ugmm.deploy.exports.answers import OF_CLASSES, OF_NUMBERS
from ugmm.errors import UserError
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork, TrainedRegressor

__all__ = ["TOLERANCE", "answers_of", "largest_difference", "some_rows"]

TOLERANCE = 1e-5
_ROWS = 100


def some_rows(trained: TrainedNetwork | TrainedRegressor) -> np.ndarray:
    """Return raw rows to try an export on, (n, columns): some that the run kept, or drawn ones."""
    spec, kept = trained.spec, trained.kept
    if kept is None:
        generator = torch.Generator().manual_seed(0)
        shape = (_ROWS, spec.n_features)
        kept = torch.randn(shape, generator=generator)
        if spec.pixel_range is not None:
            low, high = spec.pixel_range
            kept = low + (high - low) * torch.rand(shape, generator=generator)
    rows = spec.decode(kept[:_ROWS])
    if spec.pixel_range is not None:
        rows = rows.clip(*spec.pixel_range).astype(np.float32)
    return rows


def answers_of(
    trained: TrainedNetwork | TrainedRegressor, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what a trained network answers to raw rows, named as an export's outputs are."""
    if isinstance(trained, TrainedRegressor):
        found = trained.predictive(rows)
        numbers = (found.mean, found.variance.sqrt(), *found.interval(LEVEL))
        return {name: each.numpy() for name, each in zip(OF_NUMBERS, numbers, strict=True)}
    answers: dict[str, np.ndarray] = {}
    if trained.class_scores(rows[:1]).shape[-1] > 1:
        classes = (trained.posterior(rows).numpy(), trained.predict(rows))
        answers |= zip(OF_CLASSES, classes, strict=True)
    if trained.network.normalized:
        answers[DENSITY] = trained.log_prob(rows).numpy()
    return answers


def largest_difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], spec: Spec
) -> float:
    """Return by how much answers differ: a probability's as it is, another number's relative.

    Raises:
        UserError: If it is more than `TOLERANCE`, or a number is finite on one side only, or the
            likeliest classes differ of which one is likelier than the other.
    """
    worst = 0.0
    scale = 1.0 if spec.target is None else spec.target.std
    for name, values in expected.items():
        if name != "label":
            least = None if name == "probabilities" else scale
            worst = max(worst, _difference(found[name], values, least))
    if not worst <= TOLERANCE:
        raise _otherwise(f"by {worst:.2g}, and it may be {TOLERANCE:g}")
    if "label" in expected:
        _compare_labels(found["label"], expected["label"], expected["probabilities"], spec)
    return worst


def _difference(found: np.ndarray, expected: np.ndarray, least: float | None) -> float:
    """Return the largest difference; infinity where what is finite differs.

    Args:
        found: What an export says.
        expected: What the network says.
        least: The size from which differences are relative; None: none is.
    """
    known = np.isfinite(expected)
    if found.shape != expected.shape or not np.isfinite(found[known]).all():
        return np.inf
    if not np.array_equal(found[~known], expected[~known], equal_nan=True):
        return np.inf
    size = 1.0 if least is None else np.maximum(np.abs(expected[known]), least)
    return float((np.abs(found[known] - expected[known]) / size).max(initial=0.0))


def _compare_labels(
    found: np.ndarray, expected: np.ndarray, probabilities: np.ndarray, spec: Spec
) -> None:
    """Refuse other classes than the likeliest, but for those that are as likely."""
    if np.shape(found) != expected.shape:
        raise _otherwise("by its labels")
    places = {name: place for place, name in enumerate(spec.class_names)}
    for name, best, p in zip(found, expected, probabilities, strict=True):
        if name != best and not (name in places and p.max() - p[places[name]] <= TOLERANCE):
            raise _otherwise(f"label {str(name)!r}, and not {str(best)!r}")


def _otherwise(how: str) -> UserError:
    return UserError(
        f"what was exported answers otherwise than the network ({how}), so nothing was written; "
        "keep the run, or export it with --to safetensors"
    )
