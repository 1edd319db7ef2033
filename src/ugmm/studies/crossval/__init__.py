"""Nested cross-validation of generative models.

Each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ugmm.studies.crossval.command import run_crossval
    from ugmm.studies.crossval.definition import CrossValidation, read_crossvalidation
    from ugmm.studies.crossval.nested import cross_validate

__all__ = ["CrossValidation", "cross_validate", "read_crossvalidation", "run_crossval"]

_HOME = {
    "CrossValidation": "definition",
    "cross_validate": "nested",
    "read_crossvalidation": "definition",
    "run_crossval": "command",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
