"""Candidates of single inputs on a CPU in float32: compiled `loops`, split over threads."""

from torch import Tensor

from ugmm.kernels.compiled.threads import count_vectors, run, thread_count
from ugmm.kernels.coordinates import loops
from ugmm.kernels.mixture.cpu import constants_of
from ugmm.kernels.problem import Problem

__all__ = ["CpuCandidates"]


class CpuCandidates:
    """As `reference.Candidates`, and with its arguments; it keeps no graph."""

    def __init__(self, problem: Problem, coordinates: Tensor, values: Tensor) -> None:
        x, (n_out, n_in), wanted = problem.x.contiguous(), problem.loc.shape, len(coordinates)
        blocks, batch = count_vectors(n_out), len(x)
        columns, offsets = constants_of(problem)
        self._fields: dict[str, Tensor | float] = {
            "columns": columns["columns"],
            "offsets": offsets,
            "coordinates": coordinates.contiguous(),
            "values": values.contiguous(),
            "shared": len(values) == 1,
            "others": x.new_empty(batch * wanted, blocks * loops.PAIR),
            "batch": batch,
            "n_out": n_out,
            "n_in": n_in,
            "used": wanted,
            "wanted": values.shape[-1],
        }
        if batch and wanted:
            tasks = min(batch * blocks, thread_count(batch, n_out, n_in))
            run(loops.passes()[:1], tasks, **self._fields, x=x)

    def scores(self, first: int, stop: int) -> Tensor:
        """See `reference.Candidates.scores`."""
        pairs, fields = stop - first, self._fields
        n_values, n_out = int(fields["wanted"]), int(fields["n_out"])
        score = fields["values"].new_empty(pairs, n_values, n_out)  # type: ignore[union-attr]
        if score.numel():
            tasks = min(pairs, thread_count(pairs, n_out, n_values))
            run(loops.passes()[1:], tasks, **fields, score=score, rows=pairs, first=first)
        return score
