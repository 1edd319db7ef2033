"""NADE, the autoregressive network that mixture neurons are compared with."""

from ugmm.baselines.nade.network import NADE

__all__ = ["NADE"]
