"""A layer's scores for many rows near one, on a CPU in float32: compiled loops (`expansion`)."""

import math

import torch
from torch import Tensor

from ugmm.kernels.compiled.base2 import HALF_LOG_2PI, LOG2_E, ROOT
from ugmm.kernels.compiled.threads import count_vectors, run
from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.coordinates import expansion
from ugmm.kernels.coordinates.expansion import DEGREE, HEIGHT
from ugmm.kernels.problem import Problem

__all__ = ["Nearby"]

_ERROR = 3e-8  # of a polynomial, relative to the sum over all components


class Nearby:
    """The scores of rows of which most inputs are near those of one row.

    Arguments:
        problem: The layer, and that row.
    """

    def __init__(self, problem: Problem) -> None:
        loc, log_scale = problem.loc.double(), problem.log_scales().double()
        rate = (-log_scale).exp()
        level = problem.logits.double().log_softmax(-1) - log_scale - HALF_LOG_2PI
        base = problem.x.double()
        z = (base - loc) * rate
        terms = level - 0.5 * z.square()
        offset = terms.logsumexp(-1, keepdim=True)
        share = (terms - offset).exp()
        n_out, n_in = loc.shape
        # The derivatives of exp(-z**2 / 2), by its Hermite polynomials.
        hermite = [torch.ones_like(z), z]
        for order in range(1, DEGREE):
            hermite.append(z * hermite[-1] - order * hermite[-2])
        slopes = [
            share * (-rate) ** n * hermite[n] / math.factorial(n) for n in range(1, DEGREE + 1)
        ]
        exact = [share, loc, ROOT * rate, (level - offset) * LOG2_E]
        self.usable = bool(offset.isfinite().all())
        self._fields: dict[str, Tensor | float] = {
            "columns": _in_blocks(torch.stack(slopes)),
            "constants": _in_blocks(torch.stack(exact)),
            "at_zero": _padded(base[0]),
            "weights": _padded(_limits(share, z, rate)),
            "zero_sums": _padded(offset[:, 0]),
            "n_out": n_out,
            "n_in": n_in,
        }

    def scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (batch, M), and the numbers of rows whose scores are not to be used."""
        x = x.contiguous()
        batch, n_out = len(x), int(self._fields["n_out"])
        score = x.new_empty(batch, n_out)
        tiles = -(-batch // HEIGHT)
        bad = x.new_zeros(tiles, dtype=torch.uint8)
        if batch:
            fields = {**self._fields, "score": score, "ordinary": bad, "batch": batch}
            run(expansion.passes(), tiles, x=x, **fields)
        rows = (bad.nonzero() * HEIGHT + torch.arange(HEIGHT)).flatten()
        return score, rows[rows < batch]


def _limits(share: Tensor, z: Tensor, rate: Tensor) -> Tensor:
    """How far each input may be from the base: until what a polynomial leaves out counts."""
    order = DEGREE + 1
    # The next term is about share * (size * d)**order / order!, since |He_5(z)| is at most 1.5**5
    # where |z| is, and less than |z|**5 beyond; up to size * d = 1 the others are smaller still.
    size, limit = z.abs().clamp(min=1.5) * rate, math.factorial(order) * _ERROR
    return ((limit / share.clamp(min=limit)) ** (1 / order) / size).amin(0)


def _padded(values: Tensor) -> Tensor:
    """Numbers (n,) in whole vectors, float32."""
    whole = values.new_zeros(count_vectors(len(values)) * LANES, dtype=torch.float32)
    whole[: len(values)] = values
    return whole


def _in_blocks(tables: Tensor) -> Tensor:
    """Tables (kinds, out, in) as (blocks, in, kinds, lanes), float32, inputs in whole vectors."""
    kinds, n_out, n_in = tables.shape
    blocks, width = count_vectors(n_out), count_vectors(n_in) * LANES
    whole = tables.new_zeros(kinds, blocks * LANES, width, dtype=torch.float32)
    whole[:, :n_out, :n_in] = tables
    return whole.view(kinds, blocks, LANES, width).permute(1, 3, 0, 2).contiguous()
