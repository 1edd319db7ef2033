"""The autoregressive network: a density that is normalised by construction."""

from ugmm.nn.autoregressive.network import AutoregressiveUGMM

__all__ = ["AutoregressiveUGMM"]
