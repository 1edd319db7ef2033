"""The layer of mixture neurons, and the scope in which its parameters do not change."""

from ugmm.nn.mixture.layer import UGMM
from ugmm.nn.mixture.scope import prepared

__all__ = ["UGMM", "prepared"]
