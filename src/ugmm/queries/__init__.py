"""Queries by the command: rows of a file in, answers as CSV out."""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.queries.commands import infer, sample

__all__ = ["infer", "sample"]

__getattr__, __dir__ = load_on_use(__name__, {"infer": "commands", "sample": "commands"})
