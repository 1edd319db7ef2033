"""Networks of radial bumps, which mixture neurons are compared with."""

from typing import Literal

from ugmm.config.choices.declare import choice
from ugmm.config.choices.models import LayeredConfig, ModelConfig
from ugmm.keys import key

__all__ = ["FastKANConfig", "RBFConfig"]


@choice("model", "fast_kan", builds="ugmm.baselines.radial:FastKAN")
class FastKANConfig(LayeredConfig):
    """Functions of single inputs, as sums of bumps; see `ugmm.baselines.FastKAN`."""

    bumps: int = key(8, low=2, high=1000)  # of each connection


@choice("model", "rbf", builds="ugmm.baselines.radial:RBFNetwork")
class RBFConfig(ModelConfig):
    """Gaussian bumps of the whole input, added up; see `ugmm.baselines.RBFNetwork`."""

    units: int = key(128, low=1, high=10**6)
    init: Literal["unit", "data"] = key("data", passed=False)
