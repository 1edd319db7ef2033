"""What all tests share."""

import os

import ugmm._torchvision  # noqa: F401  (before any test imports lightning)

# Tests must not reach for an account or leave anything in the home folder.
os.environ.setdefault("WANDB_MODE", "disabled")
