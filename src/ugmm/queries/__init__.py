"""Queries by the command: rows of a file in, answers as CSV or as a picture out."""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.queries.commands import infer, sample
    from ugmm.queries.completions import complete

__all__ = ["complete", "infer", "sample"]

_HOME = {"complete": "completions", "infer": "commands", "sample": "commands"}

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _HOME)
