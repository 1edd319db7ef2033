"""Networks of radial bumps: of single inputs, and of all inputs together."""

from ugmm.baselines.radial.fast_kan import FastKAN, FastKANLayer
from ugmm.baselines.radial.rbf import RBFNetwork

__all__ = ["FastKAN", "FastKANLayer", "RBFNetwork"]
