"""Weights & Biases."""

import os

# Before wandb is imported: what there is to say, is said here in one line.
os.environ.setdefault("WANDB_SILENT", "true")
