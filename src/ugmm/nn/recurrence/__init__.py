"""Recurrent layers of mixture neurons, and a network that reads an image line by line."""

from ugmm.nn.recurrence.cell import UGMMCell
from ugmm.nn.recurrence.layer import UGMMRNN
from ugmm.nn.recurrence.network import UGMMRecurrentNetwork

__all__ = ["UGMMRNN", "UGMMCell", "UGMMRecurrentNetwork"]
