"""Nested cross-validation of generative models.

Each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

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

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _HOME)
