"""Recurrent layers of mixture neurons, and a network that reads an image line by line."""

from ugmm.nn.recurrence.cell import UGMMCell
from ugmm.nn.recurrence.layer import UGMMRNN

__all__ = ["UGMMRNN", "UGMMCell"]
