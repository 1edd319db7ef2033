"""Grids of settings: their combinations, and the configurations that settings make."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from ugmm.config.compose import compose
from ugmm.config.schema import Config
from ugmm.errors import UserError

__all__ = ["compose_settings", "expand_grid"]


def expand_grid(grid: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """Return every combination of a grid's values, the last key changing first.

    Args:
        grid: For each key a list of values. An empty grid has one combination, of nothing.
        source: What an error names.

    Raises:
        UserError: If anything but a list of values stands in it.
    """
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{source}: grid.{key} must be a list of values, such as [0.1]")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def compose_settings(
    experiment: str, settings: Mapping[str, Any], source: str, root: Path | None
) -> Config:
    """Return the configuration of an experiment with a study's settings.

    Args:
        experiment: See `ugmm.config.compose.compose`.
        settings: By key; `{"model": "mlp"}` is a choice.
        source: What every error names.
        root: See `ugmm.config.compose.compose`.

    Raises:
        UserError: If the settings are wrong, or do not go together.
    """
    try:
        return compose(experiment, layers=[(source, settings)], root=root)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(source) else f"{source}: {text}") from error
