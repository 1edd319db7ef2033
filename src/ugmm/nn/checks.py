"""Arguments that would be computed with, and mean nothing: refused, each in one line."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ugmm.kernels.problem import check_candidates, check_floats, check_tensors

__all__ = [
    "check_binary", "check_candidates", "check_draws", "check_floats", "check_given",
    "check_levels", "check_positive", "check_tensors", "per_layer",
]  # fmt: skip

_NEAR = 1e-3  # of the step between two levels: rounding errors of a level divided by their number


def check_positive(**sizes: int) -> None:
    """Check that sizes, given by their names, are at least 1.

    Raises:
        ValueError: If one is not.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_draws(n: int) -> None:
    """Check a number of draws; none is a number too.

    Raises:
        ValueError: If it is negative.
    """
    if n < 0:
        raise ValueError(f"the number of draws must not be negative, got {n}")


def check_binary(x: Tensor) -> None:
    """Check that features are 0 or 1, or NaN where they are not known.

    Raises:
        ValueError: If one is something else.
    """
    check_levels(x, 2)


def check_levels(x: Tensor, levels: int | None) -> None:
    """Check that features are k / (levels - 1) for a level k, or NaN where they are not known.

    While a graph is traced or transformed they have no values, and nothing is checked.

    Args:
        x: Of any shape.
        levels: How many values a feature may have; None for any.

    Raises:
        ValueError: If one is something else.
    """
    if levels is None or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return
    try:
        place = x.detach() * (levels - 1)
        level = place.round().clamp(0, levels - 1)
        wrong = (place - level).abs() > (0 if levels == 2 else _NEAR)
        if not wrong.any():
            return
        found = x[wrong][0].item()
    except RuntimeError:  # of torch.func, or on the device "meta"
        return
    allowed = "0 or 1" if levels == 2 else f"0 to {levels - 1}, divided by {levels - 1}"
    raise ValueError(f"a feature is {found:g}, and each must be {allowed}")


def check_given(given: Tensor, n: int, n_features: int) -> None:
    """Check first features that n draws are given: one row for all of them, or one each.

    Raises:
        ValueError: If they are not such rows, or one is not finite.
    """
    check_tensors(given=given)
    *rows, k = given.shape or (n_features + 1,)
    if rows not in ([], [n]) or k > n_features:
        raise ValueError(
            f"given must be of shape (k,) or ({n}, k) with k at most {n_features}, "
            f"got {tuple(given.shape)}"
        )
    if not given.isfinite().all():
        raise ValueError("a given feature is not finite")


def per_layer(rate: float | Sequence[float], n_layers: int) -> list[float]:
    """Return a rate of dropout for each layer; one number is that of the first layer alone.

    Raises:
        ValueError: If there are not as many rates as layers.
    """
    if isinstance(rate, int | float):
        return [float(rate)] + [0.0] * (n_layers - 1)
    if len(rate) != n_layers:
        raise ValueError(f"dropout has {len(rate)} rates for {n_layers} layers")
    return list(rate)
