"""Candidates of single inputs on a CUDA device in float32, by Triton kernels."""

import torch
from torch import Tensor

from ugmm.kernels.coordinates import triton_kernels
from ugmm.kernels.cumulative import cuda as cumulative
from ugmm.kernels.cumulative import triton_kernels as cumulative_kernels
from ugmm.kernels.launch import Launcher, kind_of
from ugmm.kernels.problem import Problem

__all__ = ["CudaCandidates"]

OTHERS = {"BM": 32, "num_warps": 1}
SCORE = {"BG": 16, "BM": 32, "num_warps": 4}

_PREPARE = Launcher(cumulative_kernels.prepare)
_ADD_OTHERS, _SCORE = Launcher(triton_kernels.add_others), Launcher(triton_kernels.score)


class CudaCandidates:
    """As `reference.Candidates`, and with its arguments; it keeps no graph.

    The sums over the others are of all inputs, wanted or not: what is wanted stays on the device.
    """

    def __init__(self, problem: Problem, coordinates: Tensor, values: Tensor) -> None:
        x, (n_out, n_in) = problem.x.contiguous(), problem.loc.shape
        log_weights = problem.logits.log_softmax(-1)
        tensors = (problem.loc, problem.log_scales(), log_weights)
        parameters = [tensor.contiguous() for tensor in tensors]
        self._coordinates, self._values = coordinates.contiguous(), values.contiguous()
        self._sizes = len(x), n_out, n_in, values.shape[-1], len(coordinates)
        self._tiles = -(-n_out // OTHERS["BM"])
        self._columns = x.new_empty(3, n_in, n_out)
        self._others = x.new_empty(2, len(x), n_in, n_out)
        with torch.cuda.device_of(x):  # Triton launches on the current device
            chunks = -(-n_in // cumulative.PARAMETERS["BK"])
            tiles = -(-n_out // cumulative.PARAMETERS["BM"])
            _PREPARE(
                kind_of(*parameters),
                lambda _: (chunks, tiles, 1),
                *(*parameters, self._columns, n_out, n_in),
                **cumulative.PARAMETERS,
            )
            if len(x):
                _ADD_OTHERS(
                    kind_of(x),
                    lambda _: (len(x), self._tiles, 1),
                    *(x, self._columns, self._others, *self._sizes[:3]),
                    **OTHERS,
                )

    def scores(self, first: int, stop: int) -> Tensor:
        """See `reference.Candidates.scores`."""
        _, n_out, _, n_values, wanted = self._sizes
        result = self._values.new_empty(stop - first, n_values, n_out)
        if result.numel():
            tensors = self._columns, self._others, self._coordinates, self._values, result
            row_step = wanted * n_values if len(self._values) != 1 else 0
            groups = -(-n_values // SCORE["BG"])
            with torch.cuda.device_of(result):
                _SCORE(
                    kind_of(*tensors),
                    lambda _: (stop - first, groups, self._tiles),
                    *(*tensors, *self._sizes, first, row_step),
                    **SCORE,
                )
        return result
