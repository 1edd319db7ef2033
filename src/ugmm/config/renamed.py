"""Keys that had another name once: configurations frozen then are still read."""

from collections.abc import Mapping
from typing import Any

__all__ = ["with_new_names"]

_RENAMED = {
    "data": {"shift": "max_shift", "shifts": "robustness"},
}


def with_new_names(frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frozen configuration with the names that its keys have today."""
    result = dict(frozen)
    for group, names in _RENAMED.items():
        if isinstance(keys := result.get(group), Mapping):
            result[group] = {names.get(key, key): value for key, value in keys.items()}
    return result
