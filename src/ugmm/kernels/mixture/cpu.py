"""The score on a CPU in float32: compiled loops, split over threads.

There are four ways: `loops`, `narrow` for few inputs, `zeros` for inputs that are mostly zero and
`pruned`, in evaluation, for neurons most of whose components are gone.
"""

import functools
import math
from typing import Any, cast

import torch
from torch import Tensor

from ugmm.kernels.compiled.bits import Bits
from ugmm.kernels.compiled.threads import count_vectors, layer_fields, run, split, thread_count
from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.definition import Kernel, register
from ugmm.kernels.mixture import loops, narrow, narrow_backward, neuron, pruned, zeros
from ugmm.kernels.mixture.columns import COLUMN
from ugmm.kernels.problem import Problem

__all__ = ["CPU", "KERNEL", "constants_of", "few_inputs", "mostly_zero"]

_EXPONENTIALS = 3  # of the constants of a component, about
_MANY_INPUTS = 2**12  # of a batch: fewer are not worth a look for zeros
# Rows that are looked at, as shares of all: by the golden section, which has no period that rows
# may have too, such as the places of an image.
_SAMPLE = torch.arange(16) * ((math.sqrt(5) - 1) / 2) % 1
_FEW_INPUTS = 64
_SOME_ROWS = 16  # to outlast the turning about of a layer's constants


class _Constants:
    """Room for what the loops need of a layer's parameters, for one call or for many."""

    def __init__(self, problem: Problem) -> None:
        self.n_out, self.n_in = problem.loc.shape
        self.table = problem.loc.new_empty(*_constants_shape(problem))
        self.offsets = problem.loc.new_empty(self.n_out, dtype=torch.float64)

    def compute(self, fields: dict[str, Tensor | float]) -> None:
        """Fill it, where that is not done by the call that needs it."""
        tasks = min(self.n_out, thread_count(_EXPONENTIALS, self.n_out, self.n_in))
        run(neuron.passes()[:1], tasks, **{**fields, **self.fields()})

    def fields(self) -> dict[str, Tensor]:
        """The fields of a call in which they are."""
        return {"constants": self.table, "offsets": self.offsets}

    @functools.cached_property
    def columns(self) -> dict[str, Tensor]:
        """The same, as `zeros` needs them."""
        with torch.inference_mode(False):  # as `_kept_constants`
            return _columns(self.table, self.n_out, self.n_in)

    @functools.cached_property
    def lists(self) -> dict[str, Tensor]:
        """The components that are left, as `pruned` needs them."""
        with torch.inference_mode(False):
            table = self.table.view(self.n_out, neuron.SLOTS, -1)[..., : self.n_in]
            there = table[:, neuron.LEVEL] != -torch.inf  # as a NaN is
            starts = torch.zeros(self.n_out + 1, dtype=torch.int64)
            torch.cumsum(there.sum(1), 0, out=starts[1:])
            return {
                "left": there.nonzero()[:, 1].to(torch.int32),
                "values": table[:, : neuron.WEIGHT].transpose(1, 2)[there],
                "starts": starts,
            }

    @functools.cached_property
    def weights(self) -> Tensor:
        """Each component's, (in, out)."""
        table = self.table.view(self.n_out, neuron.SLOTS, -1)
        return table[:, neuron.WEIGHT, : self.n_in].t().contiguous()


def constants_of(problem: Problem) -> tuple[dict[str, Tensor], Tensor]:
    """Columns of a layer's constants, as `zeros` has them; and the offsets of its scores."""
    fields = layer_fields(problem)
    constants = _kept_constants(problem, fields)
    if constants is None:
        constants = _Constants(problem)
        constants.compute(fields)
    return constants.columns, constants.offsets


def _kept_constants(problem: Problem, fields: dict[str, Tensor | float]) -> _Constants | None:
    """Those that calls with the same prepared parameters share, if they are prepared."""
    prepared = problem.prepared
    if prepared is None:
        return None
    if prepared.constants is None:
        with torch.inference_mode(False):  # whose tensors no later call could differentiate by
            constants = _Constants(problem)
            constants.compute(fields)
        prepared.constants = constants
    return cast("_Constants", prepared.constants)


def _columns(table: Tensor, n_out: int, n_in: int) -> dict[str, Tensor]:
    blocks = count_vectors(n_out)
    columns = {
        "columns": table.new_empty(blocks, n_in, COLUMN),
        "at_zero": table.new_empty(n_in, blocks * LANES),
    }
    run(zeros.passes()[:1], blocks, **columns, constants=table, n_out=n_out, n_in=n_in)
    return columns


def _constants_shape(problem: Problem) -> tuple[Any, Any]:
    n_out, n_in = problem.loc.shape
    return n_out, neuron.SLOTS * count_vectors(n_in) * LANES


def _saved_shapes(problem: Problem) -> tuple[Any, Any]:
    """The sums of each score, and of its kept weights; each neuron's constants, whole vectors."""
    return (_sums(problem), *problem.score_shape()), _constants_shape(problem)


def _sums(problem: Problem) -> int:
    return 1 if problem.known is None else 2


def _forward(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    x, batch, (n_out, n_in) = problem.x, problem.x.shape[0], problem.loc.shape
    score, sums = x.new_empty(batch, n_out), x.new_empty(_sums(problem), batch, n_out)
    fields, known, zero = _fields(problem, sums), problem.known, mostly_zero(problem)
    constants = _kept_constants(problem, fields)
    first: tuple[Any, ...] = ()
    if constants is None:
        constants = _Constants(problem)
        if zero or known is not None:
            constants.compute(fields)
        else:
            first = neuron.passes()[:1]
    fields |= {**constants.fields(), "score": score}
    if known is not None:
        sums[1] = Bits.of(None, known).times(constants.weights)
    if problem.prepared is not None and known is None and _few_left(problem, constants, zero):
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), False)
        fields |= {**constants.lists, "tasks": tasks.address}
        run(pruned.passes(), len(tasks.lines), **fields)
    elif zero:
        fields |= constants.columns
        fields |= _lists(problem, fields)
        zero_sums = Bits.of(x, known).times(constants.columns["at_zero"])
        run(zeros.passes()[2:3], count_vectors(n_out), **fields, zero_sums=zero_sums)
    elif few_inputs(batch, n_out, n_in):
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), False, True)
        run((*first, *narrow.passes()), len(tasks.lines), **fields, tasks=tasks.address)
    elif batch:
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), False)
        run((*first, loops.passes()[0]), len(tasks.lines), **fields, tasks=tasks.address)
    return score, sums, constants.table


def _backward(
    grad: Tensor,
    sums: Tensor,
    constants: Tensor,
    problem: Problem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    x, batch, (n_out, n_in) = problem.x, problem.x.shape[0], problem.loc.shape
    # The loops sum for the parameters in any case: that costs little and a branch as much.
    results = problem.empty_gradients(need_x, need_parameters or batch > 0)
    if not batch:
        return tuple(result.zero_() for result in results)
    fields = _fields(problem, sums)
    fields |= zip(("dx", "by_loc", "by_log_scale", "by_logits"), results, strict=True)
    fields |= {"grad": grad.contiguous(), "constants": constants}
    if problem.known is not None:
        shares = _divided(fields, sums[1])
        fields["by_kept"] = Bits.of(None, problem.known, across=True).times(shares)
    if not need_x and mostly_zero(problem):
        fields |= problem.notes or {**_lists(problem, fields), **_columns(constants, n_out, n_in)}
        weights = _divided(fields, sums[0])
        zero_weights = Bits.of(x, problem.known, across=True).times(weights)
        run(
            zeros.passes()[3:],
            count_vectors(n_out),
            **fields,
            weights=weights,
            zero_sums=zero_weights,
        )
    elif few_inputs(batch, n_out, n_in):
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), True, True)
        size = narrow_backward.line_size(n_in)
        fields["more_sums"] = x.new_empty(len(tasks.lines), count_vectors(n_out), size)
        fields |= {"dx_rows": batch if need_x else 0, "tasks": tasks.address}
        run(narrow_backward.passes(), len(tasks.lines), **fields)
    else:
        tasks = split(batch, n_out, n_in, thread_count(batch, n_out, n_in), True)
        dx_rows = batch if need_x else 0
        fields["more_dx"] = x.new_empty(tasks.more_outs, dx_rows, n_in)
        fields["more_sums"] = x.new_empty(tasks.more_rows, 3, n_out, n_in)
        fields |= {"dx_rows": dx_rows, "tasks": tasks.address}
        run(loops.passes()[1], len(tasks.lines), **fields)
    if need_parameters:
        return tuple(results)
    return results[0], *(x.new_empty(0, 0) for _ in range(3))


def _fields(problem: Problem, sums: Tensor) -> dict[str, Tensor | float]:
    """The fields of a call that both ways need."""
    fields = layer_fields(problem)
    fields["total"] = sums  # the first of them
    if problem.known is not None:
        fields |= {"known": problem.known.contiguous(), "kept": sums[1]}
    return fields


def _divided(fields: dict[str, Tensor | float], divisor: Tensor) -> Tensor:
    """The scores' gradients divided by some sums, of near rows; of far ones 0: (batch, blocks)."""
    batch, n_out = divisor.shape
    weights = divisor.new_empty(batch, count_vectors(n_out) * LANES)
    tasks = min(batch, thread_count(batch, n_out, 1))
    run(neuron.passes()[1:], tasks, **fields | {"divisor": divisor, "weights": weights})
    return weights


def mostly_zero(problem: Problem) -> bool:
    """Whether the way for inputs that are mostly zero pays, judged by a few rows."""
    x = problem.x
    if problem.notes:
        return True
    if len(problem.loc) < 2 * LANES or x.numel() < _MANY_INPUTS:
        return False
    return 2 * _share_of_some(problem) < 1


def _share_of_some(problem: Problem) -> float:
    """The share of a few rows' inputs that are known and not 0."""
    rows = (_SAMPLE * len(problem.x)).long()
    some = problem.x[rows]
    if problem.known is not None:
        some = some.masked_fill(~problem.known[rows], 0.0)
    return int(some.count_nonzero()) / some.numel()


def few_inputs(batch: int, n_out: int, n_in: int) -> bool:
    """Whether the way for few inputs pays: whether it goes through fewer vectors."""
    if n_in > _FEW_INPUTS or batch < _SOME_ROWS:
        return False
    vectors = count_vectors(n_out) * n_in
    return 2 * vectors < n_out * (2 * count_vectors(n_in) + 3)  # 3/2 to finish each neuron's score


def _few_left(problem: Problem, constants: _Constants, zero: bool) -> bool:
    """Whether the way for pruned neurons pays: whether it computes few enough exponentials."""
    left, components = len(constants.lists["left"]), problem.loc.numel()
    if 2 * left > components or not len(problem.x):
        return False
    # Of inputs that are not 0 `zeros` computes as many as there are, but each takes longer.
    share = 2 * _share_of_some(problem) if zero else 0.75
    tiles = -(-len(problem.x) // pruned.HEIGHT)
    return left * tiles * pruned.HEIGHT < share * components * len(problem.x)


def _lists(problem: Problem, fields: dict[str, Tensor | float]) -> dict[str, Tensor]:
    """The lists of `zeros`, noted for backward with the columns that are in the fields."""
    x, batch, n_in = problem.x, *problem.x.shape
    shape = (-(-batch // zeros.HEIGHT), n_in)
    lists = {
        "values": x.new_empty(*shape, zeros.HEIGHT),
        "rows": x.new_empty(*shape, zeros.HEIGHT, dtype=torch.int16),
        "counts": x.new_empty(shape, dtype=torch.int32),
        "ordinary": x.new_ones(batch, dtype=torch.uint8),
    }
    run(zeros.passes()[1:2], count_vectors(len(problem.loc)), **fields, **lists)
    if problem.notes is not None and not x.requires_grad:
        problem.notes.update(lists, columns=fields["columns"], at_zero=fields["at_zero"])
    return lists


KERNEL = Kernel(
    name="mixture_log_score_cpu",
    forward=_forward,
    backward=_backward,
    saved_shapes=_saved_shapes,
    dispatch_key="CPU",
)
CPU = register(KERNEL)
