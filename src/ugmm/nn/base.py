"""What every trained network has, whether it tells classes apart or predicts numbers."""

from contextlib import AbstractContextManager

from torch import Tensor, nn

from ugmm.nn.mixture import prepared
from ugmm.nn.recipe import Recorded

__all__ = ["Network"]


class Network(Recorded, nn.Module):
    """A network over rows of features; see `Classifier` and `Regressor`.

    Attributes:
        missing: Whether NaN in a feature says that it is not known; see `expect_missing`.
        levels: How many values a feature may have, k / (levels - 1) for k from 0 on; None where
            it may be any number.
    """

    missing = False
    levels: int | None = None

    @property
    def binary(self) -> bool:
        """Whether features must be 0 or 1."""
        return self.levels == 2

    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Set the initial parameters from a batch of data.

        Args:
            x: (batch, features).
            y: Labels or targets, (batch,).

        Raises:
            NotImplementedError: If this kind of network cannot be initialised from data.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be initialised from data")

    def expect_missing(self) -> None:
        """From now on, take NaN in a feature as one that is not known, and use what is known.

        Not so `init_from`, which needs whole rows: see `ugmm.density.fill_gaps`.

        Raises:
            NotImplementedError: If this kind of network needs all features.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot do without features")

    def prepared(self) -> AbstractContextManager[None]:
        """Return a scope in which parameters do not change and calls are quicker.

        Within `with network.prepared():` what the mixture layers' kernels make of the parameters
        is made once; see `ugmm.nn.mixture.prepared`.
        """
        return prepared(self)

    def n_parameters(self) -> int:
        """Return the number of learned parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
