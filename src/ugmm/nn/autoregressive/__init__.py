"""Autoregressive networks: densities that are normalised by construction."""

from ugmm.nn.autoregressive.base import AutoregressiveDensity
from ugmm.nn.autoregressive.heads import HeadName, make_head
from ugmm.nn.autoregressive.network import AutoregressiveUGMM

__all__ = ["AutoregressiveDensity", "AutoregressiveUGMM", "HeadName", "make_head"]
