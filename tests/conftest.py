"""What all tests share."""

import os

# Tests must not reach for an account or leave anything in the home folder.
os.environ.setdefault("WANDB_MODE", "disabled")
