"""What every regression network can tell: a distribution of the target."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ugmm.nn.base import Network
from ugmm.nn.checks import check_tensors
from ugmm.nn.regression.heads import PredictiveHead
from ugmm.nn.regression.predictive import Predictive

__all__ = ["Regressor"]


class Regressor(Network, ABC):
    """A network that predicts a number, and how sure it is, from features.

    It speaks model units: whoever trains it standardises features and targets, and takes
    predictions back by `Predictive.scaled`.

    A class derived from it has a `head`, made by `make_predictive_head`, and a `forward` that
    ends in it.

    Attributes:
        head: Says which distribution is predicted.
    """

    head: PredictiveHead

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions' parameters: (..., features) to (..., P)."""

    def distribution(self, parameters: Tensor) -> Predictive:
        """Return the predictions that parameters (..., P), as `forward` gives them, stand for."""
        return self.head.distribution(parameters)

    def predictive(self, x: Tensor) -> Predictive:
        """Return the distribution of each row's target, (...), in model units.

        It keeps the graph: objectives are differentiated through it.
        """
        check_tensors(x=x)
        return self.distribution(self(x))

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the mean of each row's target, (...)."""
        return self.predictive(x).mean

    @property
    def has_density(self) -> bool:
        """Whether its predictions have a `log_prob`."""
        return self.head.has_density
