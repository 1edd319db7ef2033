"""Checkpoints of a run: how they are written, when, and what they hold beside weights."""
