"""Ablations: variants of an experiment, run and compared."""
