"""The network of a run, for whoever asks it about rows of which not everything is known."""

from pathlib import Path

from ugmm.errors import UserError
from ugmm.loading import load
from ugmm.trained import TrainedNetwork, TrainedRegressor

__all__ = ["load_asked"]


def load_asked(run: str | Path) -> TrainedNetwork:
    """Return the trained network of a run.

    Raises:
        UserError: If it cannot be used, or predicts a number: such networks need whole rows.
    """
    network = load(run)
    if isinstance(network, TrainedRegressor):
        raise UserError(
            f"{run} predicts a number from whole rows, and can be asked nothing else; use "
            "ugmm.load(run).predict, predictive or interval"
        )
    return network
