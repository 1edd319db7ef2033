"""A circuit of mixture neurons, and the leaves that it stands on."""

from ugmm.nn.circuit.network import UGMMCircuit

__all__ = ["UGMMCircuit"]
