"""Whether an export answers as the network does that it was made of."""

from collections.abc import Mapping

import numpy as np
import torch

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
        lower, upper = trained.interval(rows, 0.9).T
        mean, stddev = found.mean.numpy(), found.variance.sqrt().numpy()
        return {"mean": mean, "stddev": stddev, "lower_90": lower, "upper_90": upper}
    answers: dict[str, np.ndarray] = {}
    if trained.class_scores(rows[:1]).shape[-1] > 1:
        answers = {
            "probabilities": trained.posterior(rows).numpy(),
            "label": trained.predict(rows),
        }
    if trained.network.normalized:
        answers["log_density"] = trained.log_prob(rows).numpy()
    return answers


def largest_difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], spec: Spec
) -> float:
    """Return by how much answers differ: a probability's as it is, another number's relative.

    Raises:
        UserError: If it is more than `TOLERANCE`, or the likeliest classes differ.
    """
    worst = 0.0
    scale = 1.0 if spec.target is None else spec.target.std
    for name, values in expected.items():
        if name == "label":
            continue
        size = 1.0 if name == "probabilities" else np.maximum(np.abs(values), scale)
        if found[name].shape != values.shape or not np.isfinite(found[name]).all():
            worst = np.inf
        else:
            worst = max(worst, float((np.abs(found[name] - values) / size).max()))
    if not worst <= TOLERANCE:
        raise UserError(
            f"what was exported answers otherwise than the network (by {worst:.2g}, and it may be "
            f"{TOLERANCE:g}), so nothing was written; keep the run, or export it with --to "
            "safetensors"
        )
    return worst
