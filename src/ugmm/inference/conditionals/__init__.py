"""Conditionals of one or several features, given what is known of the others."""

from ugmm.inference.conditionals.conditional import Conditional, conditional

__all__ = ["Conditional", "conditional"]
