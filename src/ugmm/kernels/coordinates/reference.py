"""Candidates of single inputs by the formula: plain PyTorch, on any device, differentiable.

Input i enters a neuron's score through component i alone. So with the others' log-sum known, which
prefix and suffix sums give without a difference of nearly equal numbers, a candidate v costs one
component:

    h_ij(v) = logaddexp(others_ij, c_ij(v))     others_ij = log sum_{k != i} e^{c_kj(x_k)}
"""

import torch
from torch import Tensor

from ugmm.kernels.formula import component, cumulated, logaddexp
from ugmm.kernels.problem import Problem

__all__ = ["Candidates"]

_CHUNK = 2**22  # components of rows whose others are added up at once


class Candidates:
    """Candidates of some rows of inputs.

    Arguments:
        problem: The layer and the rows.
        coordinates: Which inputs get other values, (C,).
        values: Which, (B, C, G), or (1, C, G) for all rows alike.
    """

    def __init__(self, problem: Problem, coordinates: Tensor, values: Tensor) -> None:
        self._log_scale = problem.log_scales()
        self._log_weight = problem.logits.log_softmax(-1)
        self._problem, self._coordinates, self._values = problem, coordinates, values
        rows = max(1, _CHUNK // problem.loc.numel())
        parts = [self._log_others(x) for x in problem.x.split(rows)]
        self._others = torch.cat(parts).flatten(0, 1)

    def _log_others(self, x: Tensor) -> Tensor:
        """The log-sums without the components of each coordinate, (rows, C, M)."""
        parameters = self._problem.loc, self._log_scale, self._log_weight
        terms = component(x.unsqueeze(-2), *parameters)
        nothing = torch.full_like(terms[..., :1], -torch.inf)
        before = cumulated(torch.cat([nothing, terms[..., :-1]], -1))
        after = cumulated(torch.cat([nothing, terms[..., 1:].flip(-1)], -1)).flip(-1)
        picked = (sums.index_select(-1, self._coordinates) for sums in (before, after))
        return logaddexp(*picked).transpose(-1, -2)

    def scores(self, first: int, stop: int) -> Tensor:
        """The scores of the candidates of some pairs of row and coordinate, (pairs, G, M).

        Pair b * C + c is of row b and coordinate c.
        """
        pairs = torch.arange(first, stop, device=self._coordinates.device)
        own = pairs % len(self._coordinates)
        rows = pairs // len(self._coordinates) if len(self._values) != 1 else 0
        inputs = self._coordinates[own]
        parameters = (
            each.index_select(1, inputs).T.unsqueeze(1)
            for each in (self._problem.loc, self._log_scale, self._log_weight)
        )
        candidates = component(self._values[rows, own].unsqueeze(-1), *parameters)
        return logaddexp(self._others[first:stop].unsqueeze(1), candidates)
