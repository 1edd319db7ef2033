"""How the keys of an experiment are declared, and handed on to what they build."""

from dataclasses import MISSING, field, fields
from typing import Any

__all__ = ["key", "options"]


def key(default: Any = MISSING, **bounds: float) -> Any:
    """Declare a key with bounds: `low` and `high` are allowed themselves, `above`, `below` not."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=bounds)
    return field(default=default, metadata=bounds)


def options(config: Any) -> dict[str, Any]:
    """Return a choice's keys, less its name, as keywords for what it builds."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name != "name"}
