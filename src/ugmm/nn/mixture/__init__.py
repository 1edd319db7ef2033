"""The layer of mixture neurons, the scope in which its parameters do not change, and pruning."""

from ugmm.nn.mixture.components import effective_number, prune_components, responsibilities
from ugmm.nn.mixture.layer import UGMM
from ugmm.nn.mixture.scope import prepared

__all__ = ["UGMM", "effective_number", "prepared", "prune_components", "responsibilities"]
