"""How the keys of a configuration are declared, and handed on to what they build."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any

__all__ = ["bounds_of", "key", "options"]


def key(
    default: Any = MISSING,
    *,
    passed: bool = True,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare a key of a dataclass.

    Args:
        default: Its value where nothing is said; none makes the key required.
        passed: Whether it is handed to what the dataclass builds.
        low: The least that a number may be, or each number in a list.
        high: The most that it may be.
        above: What it must be greater than.
        below: What it must be less than.
    """
    given = {"low": low, "above": above, "high": high, "below": below}
    bounds = {name: bound for name, bound in given.items() if bound is not None}
    metadata = {"bounds": bounds, "passed": passed}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def bounds_of(declared: Field[Any]) -> Mapping[str, float]:
    """Return the bounds with which a key was declared; empty if it has none."""
    return declared.metadata.get("bounds", {})


def options(config: Any) -> dict[str, Any]:
    """Return the keys of a dataclass that are handed on, less its name, with their values."""
    return {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if f.name != "name" and f.metadata.get("passed", True)
    }
