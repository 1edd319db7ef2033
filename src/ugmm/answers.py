"""What a network answers about rows: which columns it has, wherever they are written or shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ugmm.spec import Spec

__all__ = [
    "DENSITY",
    "LEVEL",
    "class_columns",
    "density_column",
    "interval_names",
    "label_name",
    "number_cell",
    "number_columns",
    "number_texts",
    "posterior_names",
]

DENSITY = "log_density"
LEVEL = 0.9  # of the intervals that are told, shown and measured unasked


def label_name(spec: Spec) -> str:
    """Return the name of the label's column."""
    return spec.label or "class"


def posterior_names(class_names: Sequence[str]) -> list[str]:
    """Return the names of the columns of p(class | row), one a class."""
    return [f"p({name})" for name in class_names]


def class_columns(class_names: Sequence[str], scores: np.ndarray) -> dict[str, np.ndarray]:
    """Return what log-scores of classes, (n, C), say of n rows.

    Returns:
        `prediction`, the names of the likeliest classes, and p(class | row) for each class;
        nothing where there is one class only.
    """
    if scores.shape[1] < 2:
        return {}
    names = np.array(class_names, dtype=object)
    posterior = scores - scores.max(axis=1, keepdims=True).astype(np.float64)
    np.exp(posterior, out=posterior)
    posterior /= posterior.sum(axis=1, keepdims=True)
    return {
        "prediction": names[scores.argmax(axis=1)],
        **dict(zip(posterior_names(class_names), posterior.T, strict=True)),
    }


def density_column(spec: Spec, scores: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return log p(row) in nats and the units of raw rows, the label summed out.

    Args:
        spec: What a row is.
        scores: log p(x, class) of a density, in model units, (n, C).
        x: The rows in model units, (n, N); of values that are missing nothing is said.
    """
    units = spec.log_jacobians(~np.isnan(x)) if spec.keeps_missing else spec.log_jacobian
    return {DENSITY: np.logaddexp.reduce(scores.astype(np.float64), axis=1) + units}


def number_columns(
    mean: np.ndarray, low: np.ndarray, high: np.ndarray, level: float
) -> dict[str, np.ndarray]:
    """Return predicted means, and the ends of intervals that should hold a share of the targets.

    Returns:
        `prediction`, and for a `level` of 0.9 `lower_90` and `upper_90`.
    """
    lower, upper = interval_names(level)
    return {"prediction": mean, lower: low, upper: high}


def interval_names(level: float) -> tuple[str, str]:
    """Return the names of the columns of an interval's ends: `lower_90` and `upper_90` of 0.9."""
    percent = f"{100 * level:g}"
    return f"lower_{percent}", f"upper_{percent}"


def number_cell(value: Any) -> float:
    """Return a number to seven digits, as float32 has them."""
    return float(f"{float(value):.7g}")


def number_texts(numbers: np.ndarray) -> list[str]:
    """Return numbers (n,) to seven digits, all at once."""
    return ("%.7g " * len(numbers) % tuple(numbers.tolist())).split()
