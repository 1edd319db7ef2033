"""The score on a CUDA device in float32, by Triton kernels (`triton`).

Parameters are float32, inputs float32, bf16 or fp16; everything is computed and accumulated in
float32. Besides its results a call needs memory for the table of the parameters (32 bytes each)
and a few numbers a score, and in backward for at most `_MOST_PARTS` gradients by the inputs and as
many by the parameters, or as many as fit into the size of the input.

Launches from Python are what small layers wait for: a step has four, or three where parameters
are prepared for many calls.
"""

import functools

import torch
from torch import Tensor

from ugmm.kernels.definition import Kernel, register
from ugmm.kernels.launch import Launcher, kind_of
from ugmm.kernels.mixture.triton import finish, near, parameters
from ugmm.kernels.problem import Problem

__all__ = ["CUDA", "KERNEL"]

_MOST_PARTS = 8  # of outputs, and of rows unless the parts' sums are smaller than the input
_MOST_PROGRAMS = 256  # along the rows
_CLOCKS, _CLOCKS_OF_PART = 40, 500  # about: of a program's row and output; to add up a part
_WARPS = 12  # programs of backward, each one warp, that an SM holds: registers allow no more
_STRIP = 32  # outputs and rows are split into multiples of this

_PREPARE, _FORWARD = Launcher(parameters.prepare), Launcher(near.forward)
_BACKWARD, _FINISH = Launcher(near.backward), Launcher(finish.finish)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _padded(n: int, multiple: int) -> int:
    return _ceil_div(n, multiple) * multiple


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":  # interpreted: enough for more parts than one
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


@functools.lru_cache(maxsize=256)
def _split(batch: int, n_out: int, n_in: int, programs: int) -> tuple[int, int]:
    """Outputs and rows of a part: what is soonest done by so many programs at a time.

    Programs beyond these begin when the first end, and take as long again.
    """
    most_rows = min(_MOST_PROGRAMS, max(_MOST_PARTS, batch // (3 * n_out)))
    splits = {
        (_padded(_ceil_div(n_out, outs), _STRIP), _padded(_ceil_div(batch, rows), _STRIP))
        for outs in range(1, _MOST_PARTS + 1)
        for rows in range(1, most_rows + 1)
    }

    def cost(split: tuple[int, int]) -> tuple[int, int]:
        outs, rows = _ceil_div(n_out, split[0]), _ceil_div(batch, split[1])
        turns = _ceil_div(outs * rows * _ceil_div(n_in, 32), programs)
        each = min(split[0], n_out) * min(split[1], batch)
        clocks = turns * each * _CLOCKS + (outs + rows) * _CLOCKS_OF_PART
        return clocks, outs * batch + 3 * rows * n_out

    return min(splits, key=cost)


def _table_of(problem: Problem) -> Tensor:
    """The parameters' table, made now or for the same parameters before."""
    prepared = problem.prepared
    if prepared is None:
        return _table(problem)
    if prepared.constants is None:
        with torch.inference_mode(False):  # whose tensors no later call could differentiate by
            prepared.constants = _table(problem)
    return prepared.constants


def _table(problem: Problem) -> Tensor:
    n_out, n_in = problem.loc.shape
    table = problem.loc.new_empty(parameters.table_size(n_out, n_in), dtype=torch.float64)
    tensors = [tensor.contiguous() for tensor in problem[1:4]]
    _PREPARE(
        kind_of(*tensors),
        lambda _: (n_out, 1, 1),
        *(*tensors, problem.min_scale, table, *_sizes(problem)[1:]),
        BK=parameters.BLOCK,
        num_warps=4,
    )
    return table


def _sizes(problem: Problem) -> tuple[int, int, int, int]:
    """Batch, outputs, inputs, and how many numbers of a neuron lie together in the table."""
    n_out, n_in = problem.loc.shape
    return len(problem.x), n_out, n_in, parameters.stride_of(n_in)


def _inputs(problem: Problem, table: Tensor) -> tuple[Tensor | None, ...]:
    """What both ways read."""
    x, loc, _, logits, known, *_ = problem
    known = None if known is None else known.contiguous()
    return x.contiguous(), known, loc.contiguous(), logits.contiguous(), table


def _saved_shapes(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sums of scores, two float32 each, and what far ones need; and the table."""
    planes = 2 if problem.known is None else 3
    return (planes, *problem.score_shape()), (parameters.table_size(*problem.loc.shape),)


def _forward(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    loc, sizes = problem.loc, _sizes(problem)
    batch, n_out, n_in, _ = sizes
    score = loc.new_empty(problem.score_shape())
    saved = loc.new_empty(_saved_shapes(problem)[0], dtype=torch.float64)
    with torch.cuda.device_of(loc):  # Triton launches on the current device
        table = _table_of(problem)
        if batch:
            inputs, bucket = _inputs(problem, table), batch.bit_length()
            kind = kind_of(*inputs)
            _FORWARD(
                kind and (*kind, bucket, n_out, n_in),
                lambda tile: (_ceil_div(batch, tile["BB"]) * _ceil_div(n_out, tile["BM"]), 1, 1),
                *(*inputs, score, saved, *sizes, bucket),
            )
    return score, saved, table


def _backward(
    grad: Tensor,
    saved: Tensor,
    table: Tensor,
    problem: Problem,
    need_x: bool,
    need_parameters: bool,
) -> tuple[Tensor, ...]:
    by_x, *_ = results = problem.empty_gradients(need_x, need_parameters)
    sizes = batch, n_out, n_in, _ = _sizes(problem)
    if not batch:
        return tuple(result.zero_() for result in results)
    new, masked = problem.loc.new_empty, problem.known is not None
    programs = _WARPS * _multiprocessors(problem.x.device)
    outs_each, rows_each = _split(batch, n_out, n_in, programs)
    outs, rows = _ceil_div(n_out, outs_each), _ceil_div(batch, rows_each)
    alone = outs == 1 and by_x.dtype == torch.float32
    dx = by_x if alone else new((outs, batch, n_in) if need_x else 0)
    sums = new((rows, 4 if masked else 3, n_out, n_in) if need_parameters else 0)
    notes = new(rows, 2, n_out)
    padded = _padded(n_out, _STRIP)
    weight = new(2 if masked else 1, batch, padded)
    grad, inputs, log_scale = grad.contiguous(), _inputs(problem, table), problem.log_scale
    bucket, log_scale = batch.bit_length(), log_scale.contiguous()
    kind, needs = kind_of(*inputs, log_scale, grad, saved), (need_x, need_parameters)
    chunks = _ceil_div(n_in, parameters.BLOCK)
    of_parameters = n_out * chunks if need_parameters else 0
    of_inputs = batch * chunks if need_x else 0
    with torch.cuda.device_of(problem.x):
        _BACKWARD(
            kind and (*kind, bucket, n_out, n_in, needs),
            lambda tile: (_ceil_div(n_in, tile["BK"]), outs, rows),
            *(*inputs[:2], table, grad, saved, weight, dx, sums, notes),
            *(*sizes, padded, rows_each, outs_each, bucket),
            NEED_X=need_x,
            NEED_PARAMETERS=need_parameters,
        )
        floor = problem.min_scale > 0
        _FINISH(
            kind and (*kind, floor),
            lambda _: (of_parameters + of_inputs, 1, 1),
            *(*inputs, log_scale, grad, saved, dx, sums, notes),
            *(*results, *sizes, rows_each, rows, outs, of_parameters),
            FLOOR=floor,
            BK=parameters.BLOCK,
            num_warps=4,
        )
    return results


KERNEL = Kernel(
    name="mixture_log_score_cuda",
    forward=_forward,
    backward=_backward,
    saved_shapes=_saved_shapes,
    dispatch_key="CUDA",
    saved_dtype=torch.float64,
)
CUDA = register(KERNEL)
