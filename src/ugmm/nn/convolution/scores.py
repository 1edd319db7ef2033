"""The scores of a layer at every place of an image, without a tensor of all patches."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ugmm.functional import mixture_log_score
from ugmm.kernels import KernelName, choose_ways
from ugmm.kernels.prepared import Prepared
from ugmm.kernels.problem import HALVES, Problem, check_layer, widened
from ugmm.kernels.roads import Road, choose_road
from ugmm.nn.convolution.geometry import Windows

__all__ = ["NOTHING", "Options", "Parameters", "patch_scores"]

# How many numbers of patches are held at once: on a CPU what stays in its cache.
_HELD = {"cpu": 2**19, "cuda": 2**25}

NOTHING = -1e30  # the logarithm of no weight: finite, so that its derivative is 0

Parameters = tuple[Tensor, Tensor, Tensor]


class Options(NamedTuple):
    """What a layer's scores depend on besides tensors; see `ugmm.functional.mixture_log_score`."""

    windows: Windows
    min_scale: float = 0.0
    kernel: KernelName = "auto"
    prepared: Prepared | None = None


def patch_scores(
    x: Tensor,
    parameters: Parameters,
    options: Options,
    known: Tensor | None = None,
    log_kept: Tensor | None = None,
) -> Tensor:
    r"""Return the log-scores of every neuron of a layer at every place of a batch of images.

    It is :func:`ugmm.functional.mixture_log_score` of the unfolded images. Where nothing but
    autograd watches (see `ugmm.kernels.roads`), they are unfolded a few at a time, and again in
    backward: what is kept for it is the images and a number for each score, not the patches,
    which together are about :math:`k_h k_w` times as large as the images.

    Args:
        x: Images that have been padded, (B, C, H, W).
        parameters: loc, log_scale and logits, (M, C * kh * kw) each.
        options: Where the places are, and the others.
        known: True where a value is known, (B, C, H, W); None: all are.
        log_kept: Logarithms of what remains of the neurons' weights at each place, by which
            scores are divided, (H', W', M); `NOTHING` where none remains, and the score is 0.

    Returns:
        (B, H', W', M), of the type of x; under autocast of float32.
    """
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        wide = widened(x), _each(widened, parameters)
        with torch.autocast(x.device.type, enabled=False):
            return patch_scores(*wide, options, known, log_kept)
    if options.prepared is not None and not torch.compiler.is_compiling():
        options.prepared.check(*parameters, min_scale=options.min_scale)
    row = x.new_empty(0, x.shape[1] * math.prod(options.windows.size))
    check_layer(row, *parameters, "logits")
    if choose_road(x, *parameters, known, log_kept) is not Road.DIRECT:
        return _at_once(x, parameters, log_kept, known, options)
    if x.dtype in HALVES:
        wide = x.float(), _each(Tensor.float, parameters)
        unprepared = options._replace(prepared=None)
        return patch_scores(*wide, unprepared, known, log_kept).to(x.dtype)
    if torch.is_grad_enabled():
        scores: Tensor = _InChunks.apply(x, *parameters, log_kept, known, options)
        return scores
    problems = _problems(x, parameters, known, options)
    forward = choose_ways(x, options.kernel).forward
    found = [forward(problem)[0] for _, problem in problems]
    return _divided(_placed(found, x, options.windows), log_kept)


class _InChunks(torch.autograd.Function):
    """The scores, from a kernel that is given the patches of a few images at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        loc: Tensor,
        raw_scale: Tensor,
        logits: Tensor,
        log_kept: Tensor | None,
        known: Tensor | None,
        options: Options,
    ) -> Tensor:
        kernel, parameters = choose_ways(x, options.kernel), (loc, raw_scale, logits)
        problems = _problems(x, parameters, known, options)
        found = [kernel.forward(problem) for _, problem in problems]
        scores, of_scores, of_parameters = zip(*found, strict=True)
        ctx.save_for_backward(x, *parameters, log_kept, known, of_parameters[0], *of_scores)
        ctx.kernel, ctx.options = kernel, options._replace(prepared=None)
        return _divided(_placed(scores, x, options.windows), log_kept)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, loc, raw_scale, logits, log_kept, known, constants, *of_scores = ctx.saved_tensors
        parameters, needs = (loc, raw_scale, logits), ctx.needs_input_grad[:5]
        if torch.is_grad_enabled() or choose_road(grad, x, *parameters) is not Road.DIRECT:
            call = x, parameters, log_kept, known, ctx.options
            return *_gradients_at_once(grad, *call, needs), None, None
        need, by_kept = (needs[0], any(needs[1:4])), None
        if log_kept is not None:
            grad = _where_something(grad, log_kept, torch.masked_fill)
            by_kept = -grad.sum(0)
        by_x, by_parameters, row = [], [torch.zeros_like(t) for t in parameters], 0
        grads, problems = grad.flatten(0, 2), _problems(x, parameters, known, ctx.options)
        for (images, problem), sums in zip(problems, of_scores, strict=True):
            part = grads[row : row + len(problem.x)]
            of_x, *others = ctx.kernel.backward(part, sums, constants, problem, *need)
            row += len(problem.x)
            if need[0]:
                by_x.append(ctx.options.windows.fold(of_x, images))
            if need[1]:
                for total, other in zip(by_parameters, others, strict=True):
                    total += other
        gradients = torch.cat(by_x) if by_x else None, *by_parameters, by_kept
        return *(g if n else None for g, n in zip(gradients, needs, strict=True)), None, None


def _divided(scores: Tensor, log_kept: Tensor | None) -> Tensor:
    """Divide new scores, in place, by the weights that remain."""
    if log_kept is None:
        return scores
    return _where_something(scores.sub_(log_kept), log_kept, Tensor.masked_fill_)


def _where_something(
    values: Tensor, log_kept: Tensor, fill: Callable[[Tensor, Tensor, float], Tensor]
) -> Tensor:
    """Fill values with 0 where no weight remains, which seldom is anywhere."""
    nothing = log_kept < NOTHING / 2
    return fill(values, nothing, 0.0) if nothing.is_cuda or nothing.any() else values


def _problems(
    x: Tensor, parameters: Parameters, known: Tensor | None, options: Options
) -> Iterator[tuple[torch.Size, Problem]]:
    """Yield, of a few images at a time, their shape and what the kernel is asked."""
    windows, min_scale, _, prepared = options
    size = math.prod(windows.places(*x.shape[2:])) * parameters[0].shape[1]
    at_once = max(1, _HELD.get(x.device.type, _HELD["cpu"]) // size)
    images = x.split(at_once)
    masks = (None,) * len(images) if known is None else known.split(at_once)
    if prepared is None:  # the kernel's constants, once for all of them
        prepared = Prepared(*parameters, min_scale=min_scale)
    for some, mask in zip(images, masks, strict=True):
        seen, which = windows.unfold(some), None if mask is None else windows.unfold(mask)
        yield some.shape, Problem(seen, *parameters, which, min_scale, prepared)


def _at_once(
    x: Tensor,
    parameters: Parameters,
    log_kept: Tensor | None,
    known: Tensor | None,
    options: Options,
) -> Tensor:
    """The scores of all patches together: plain operations, which every transform knows."""
    windows, min_scale, kernel, _ = options
    which = None if known is None else windows.unfold(known)
    patches = windows.unfold(x)
    scores = mixture_log_score(
        patches, *parameters, known=which, min_scale=min_scale, kernel=kernel
    )
    scores = _placed([scores], x, windows)
    if log_kept is None:
        return scores
    return torch.where(log_kept < NOTHING / 2, 0.0, scores - log_kept).to(scores.dtype)


def _gradients_at_once(
    grad: Tensor,
    x: Tensor,
    parameters: Parameters,
    log_kept: Tensor | None,
    known: Tensor | None,
    options: Options,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """The gradients by tensors, to be differentiated again where that is recorded."""
    with torch.enable_grad():  # names of their own: as `kernels.formula` has it
        x, parameters = x.view_as(x), _each(lambda t: t.view_as(t), parameters)
        log_kept = None if log_kept is None else log_kept.view_as(log_kept)
        scores = _at_once(x, parameters, log_kept, known, options)
    inputs = (x, *parameters, log_kept)
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(scores, wanted, grad, create_graph=torch.is_grad_enabled()))
    return tuple(next(found) if need else None for need in needs)


def _placed(scores: Sequence[Tensor], x: Tensor, windows: Windows) -> Tensor:
    """Return scores of patches, in parts (rows, M), as those of places: (B, H', W', M)."""
    whole = scores[0] if len(scores) == 1 else torch.cat(list(scores))
    return whole.view(x.shape[0], *windows.places(*x.shape[2:]), whole.shape[1])


def _each(change: Callable[[Tensor], Tensor], parameters: Parameters) -> Parameters:
    loc, log_scale, logits = parameters
    return change(loc), change(log_scale), change(logits)
