"""A double of a Weights & Biases server that the real SDK (0.31) accepts.

It knows what the tests use: runs with history, summary and files; resuming; artifacts; sweeps over
a grid; saved workspaces. What it does not know it answers with an error that the SDK does not
retry, and lists in `WandbServer.unknown`.
"""

from wandb_server.http import WandbServer
from wandb_server.store import Run

__all__ = ["Run", "WandbServer"]
