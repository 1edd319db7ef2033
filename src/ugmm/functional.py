"""The operations: log-scores of a layer of univariate Gaussian mixture neurons."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ugmm.kernels import KernelName, choose_coordinates, choose_cumulative, choose_kernel
from ugmm.kernels.prepared import Prepared
from ugmm.kernels.problem import (
    HALVES,
    Problem,
    check_candidates,
    check_input,
    check_known,
    check_layer,
    check_positions,
    check_start,
    check_tensors,
    widened,
)

__all__ = [
    "coordinate_blocks",
    "coordinate_log_scores",
    "cumulative_log_score",
    "mixture_log_score",
]


def mixture_log_score(
    x: Tensor,
    loc: Tensor,
    log_scale: Tensor,
    logits: Tensor,
    *,
    known: Tensor | None = None,
    min_scale: float = 0.0,
    kernel: KernelName = "auto",
    prepared: Prepared | None = None,
) -> Tensor:
    r"""Log-score of every neuron of a layer, each a mixture with one component per input.

    With :math:`\pi_j = \mathrm{softmax}(\mathrm{logits}_j)` and
    :math:`\sigma = \sigma_\text{min} + \exp(\mathrm{log\_scale})`,

    .. math::
        s_j(x) = \log \sum_{k=1}^{N} \pi_{jk} \,
            \mathcal{N}\left(x_k \mid \mu_{jk}, \sigma_{jk}^2\right)

    Inputs that are not known are left out with the components that look at them, and the other
    weights are renormalised; O are the known ones:

    .. math::
        s_j(x_O) = \log \sum_{k \in O} \pi_{jk} \,
            \mathcal{N}\left(x_k \mid \mu_{jk}, \sigma_{jk}^2\right)
            - \log \sum_{k \in O} \pi_{jk}

    which is 0 where a neuron knows nothing: the density of nothing is 1.

    It is a *score*: for :math:`N \ge 2` not a normalised density of :math:`x`. A logit of
    -inf drops its component; the other weights are renormalised. Under autocast the operation
    runs in float32; tensors in half precision are computed in float32 too, and the scores are
    of their type. It has derivatives of every order in every tensor, and knows the
    transforms of `torch.func`; see `ugmm.kernels.roads` for what these cost.

    Source: Ali, Z. S., "uGMM-NN: Univariate Gaussian Mixture Model Neural Network",
    arXiv:2509.07569.

    Args:
        x: inputs, (..., N).
        loc: means of the components, (M, N).
        log_scale: logarithms of their standard deviations less `min_scale`, (M, N).
        logits: unnormalised logarithms of their weights, (M, N).
        known: True where an input is known, of x's shape; what an unknown one holds, even NaN,
            does not matter. None: all are known.
        min_scale: the least standard deviation, at least 0.
        kernel: `auto`, `reference`, `cpu` or `cuda`; see `ugmm.kernels.choose_kernel`.
        prepared: what a kernel has made of these very parameters, to be made once for many
            calls; see `ugmm.nn.mixture.prepared`.

    Returns:
        scores, (..., M).

    Raises:
        TypeError: an argument is no tensor, or the tensors differ in type or are no floats.
        ValueError: the shapes or devices do not fit together, no kernel has this name, or
            `min_scale` is negative.
        RuntimeError: the parameters or `min_scale` are not those that were prepared.
    """
    if torch.compiler.is_compiling():  # into a graph that reads the parameters at every call
        prepared = None
    met = prepared is not None and prepared.constants is not None  # and so are these checked
    check_tensors(x=x) if met else check_tensors(x=x, loc=loc, log_scale=log_scale, logits=logits)
    if prepared is not None:
        prepared.check(loc, log_scale, logits, min_scale=min_scale)
    if _in_autocast(x):
        x, loc, log_scale, logits = (widened(t) for t in (x, loc, log_scale, logits))
    if met:
        check_input(x, loc)
    else:
        check_layer(x, loc, log_scale, logits, "logits")
        _check_min_scale(min_scale)
    if known is not None:
        check_tensors(known=known)
        check_known(known, x)
    dtype = x.dtype
    if dtype in HALVES:
        x, loc, log_scale, logits = (t.float() for t in (x, loc, log_scale, logits))
        prepared = None
    rows = _as_rows(x), loc, log_scale, logits, None if known is None else _as_rows(known)
    score = choose_kernel(x, kernel)(*rows, min_scale, prepared)
    if x.dim() != 2:
        score = score.reshape(*x.shape[:-1], loc.shape[0])
    return score if dtype == score.dtype else score.to(dtype)


def cumulative_log_score(
    x: Tensor,
    loc: Tensor,
    log_scale: Tensor,
    log_weights: Tensor,
    start: Tensor,
    positions: Tensor | None = None,
    *,
    kernel: KernelName = "auto",
) -> Tensor:
    r"""Log-scores of every neuron of a layer for the prefixes of its input, none of them whole.

    With :math:`\sigma = \exp(\mathrm{log\_scale})`,

    .. math::
        s_{ij}(x) = \log \left( e^{\mathrm{start}_j} + \sum_{k < d_i}
            e^{\mathrm{log\_weights}_{jk}} \,
            \mathcal{N}\left(x_k \mid \mu_{jk}, \sigma_{jk}^2\right) \right)

    It is the first layer of an autoregressive network: what it says at position d knows the
    inputs before d only. Weights are not normalised; one of -inf drops its component. A prefix in
    which nothing scores has the score -inf, and gives no gradient. Types are those of
    `mixture_log_score`. It has derivatives of every order in every tensor, and knows the
    transforms of `torch.func`; see `ugmm.kernels.roads` for what these cost.

    Args:
        x: inputs, (B, N).
        loc: means of the components, (M, N).
        log_scale: logarithms of their standard deviations, (M, N).
        log_weights: logarithms of their weights, (M, N).
        start: scores of the empty prefix, (B, M); may be -inf.
        positions: the lengths d of the prefixes, strictly increasing int64 of 0 to N - 1, (P,);
            None for all of these.
        kernel: `auto`, `reference`, `cpu` or `cuda`; see `ugmm.kernels.choose_kernel`.

    Returns:
        scores, (B, P, M).

    Raises:
        TypeError: an argument is no tensor, the tensors differ in type or are no floats, or the
            positions are no int64.
        ValueError: the shapes or devices do not fit together, the positions are out of range or
            not increasing (where they have numbers to look at), or no kernel has this name.
    """
    check_tensors(x=x, loc=loc, log_scale=log_scale, log_weights=log_weights, start=start)
    tensors = (x, loc, log_scale, log_weights, start)
    if _in_autocast(x):
        tensors = tuple(widened(t) for t in tensors)  # type: ignore[assignment]
    x, loc, log_scale, log_weights, start = tensors
    if x.dim() != 2:
        raise ValueError(f"x must be (B, N), not {tuple(x.shape)}")
    check_layer(x, loc, log_scale, log_weights, "log_weights")
    check_start(start, x, loc)
    if positions is not None:
        check_tensors(positions=positions)
        check_positions(positions, x)
    if x.dtype in HALVES:
        wide = [t.float() for t in tensors]
        return choose_cumulative(wide[0], kernel)(*wide, positions).to(x.dtype)
    return choose_cumulative(x, kernel)(*tensors, positions)


def coordinate_log_scores(
    x: Tensor,
    loc: Tensor,
    log_scale: Tensor,
    logits: Tensor,
    values: Tensor,
    coordinates: Tensor | None = None,
    *,
    min_scale: float = 0.0,
    kernel: KernelName = "auto",
    prepared: Prepared | None = None,
) -> Tensor:
    r"""Log-scores of every neuron of a layer where one input has other values, each in turn.

    As `mixture_log_score` of x with :math:`x_i` replaced by a candidate v. That enters through
    component i alone, so what the others add up to is computed once a row:

    .. math::
        s_{ij}(v) = \log \Big( \sum_{k \neq i} \pi_{jk} \,
            \mathcal{N}(x_k \mid \mu_{jk}, \sigma_{jk}^2)
            + \pi_{ji} \, \mathcal{N}(v \mid \mu_{ji}, \sigma_{ji}^2) \Big)

    That sum comes from the sums before and after i, not from a difference: no digits are lost
    where component i alone makes almost all of the score. What x holds at i does not matter, even
    NaN. Types are those of `mixture_log_score`. It has derivatives of every order in every tensor
    but `coordinates`; where any is asked for, plain operations of torch compute it, which hold
    several numbers for each row and component.

    Args:
        x: inputs, (..., N).
        loc: means of the components, (M, N).
        log_scale: logarithms of their standard deviations less `min_scale`, (M, N).
        logits: unnormalised logarithms of their weights, (M, N).
        values: the candidates, (G,), (C, G) for each coordinate its own, or (..., C, G) for each
            row, too.
        coordinates: which inputs are replaced, int64 of 0 to N - 1, (C,); None for all, in turn.
        min_scale: the least standard deviation, at least 0.
        kernel: `auto`, `reference`, `cpu` or `cuda`; see `ugmm.kernels.choose_kernel`.
        prepared: as in `mixture_log_score`.

    Returns:
        scores, (..., C, G, M).

    Raises:
        TypeError: an argument is no tensor, the tensors differ in type or are no floats, or the
            coordinates are no int64.
        ValueError: the shapes or devices do not fit together, a coordinate is out of range, no
            kernel has this name, or `min_scale` is negative.
        RuntimeError: the parameters or `min_scale` are not those that were prepared.
    """
    blocks = coordinate_blocks(
        x,
        loc,
        log_scale,
        logits,
        values,
        coordinates,
        min_scale=min_scale,
        kernel=kernel,
        prepared=prepared,
    )
    whole = [scores for _, scores in blocks]
    leading = *x.shape[:-1], x.shape[-1] if coordinates is None else len(coordinates)
    score = whole[0] if len(whole) == 1 else torch.cat(whole)
    return score.reshape(*leading, values.shape[-1], loc.shape[0])


def coordinate_blocks(
    x: Tensor,
    loc: Tensor,
    log_scale: Tensor,
    logits: Tensor,
    values: Tensor,
    coordinates: Tensor | None = None,
    *,
    pairs: int | None = None,
    min_scale: float = 0.0,
    kernel: KernelName = "auto",
    prepared: Prepared | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the scores of `coordinate_log_scores` block by block, for what need not hold them all.

    Args:
        x: and the others, as there.
        loc: as there.
        log_scale: as there.
        logits: as there.
        values: as there.
        coordinates: as there.
        pairs: how many pairs of row and coordinate a block has, at most; None: as many as there
            are, at least one block.
        min_scale: as there.
        kernel: as there.
        prepared: as there.

    Yields:
        which pairs, numbered row by row, b * C + c; and their scores, (pairs, G, M).
    """
    if prepared is not None:
        prepared.check(loc, log_scale, logits, min_scale=min_scale)
    tensors = {"x": x, "loc": loc, "log_scale": log_scale, "logits": logits, "values": values}
    check_tensors(**tensors)
    if _in_autocast(x):
        x, loc, log_scale, logits, values = (widened(t) for t in tensors.values())
    check_layer(x, loc, log_scale, logits, "logits")
    _check_min_scale(min_scale)
    coordinates, values = check_candidates(x, values, coordinates)
    dtype = x.dtype
    if dtype in HALVES:
        x, loc, log_scale, logits, values = (
            t.float() for t in (x, loc, log_scale, logits, values)
        )
        prepared = None
    problem = Problem(_as_rows(x), loc, log_scale, logits, None, min_scale, prepared)
    candidates = choose_coordinates(problem, values, kernel)(problem, coordinates, values)
    count = len(problem.x) * len(coordinates)
    for first in range(0, max(count, 1), pairs or max(count, 1)):
        some = slice(first, min(first + (pairs or count), count))
        yield some, candidates.scores(some.start, some.stop).to(dtype)


def _check_min_scale(min_scale: float) -> None:
    if not 0 <= min_scale < math.inf:
        raise ValueError(f"min_scale must be finite and not negative, not {min_scale}")


def _as_rows(x: Tensor) -> Tensor:
    if x.dim() == 2:
        return x
    # Not reshape(-1, N), which is refused where vmap maps over no rows.
    return x.flatten(end_dim=-2) if x.dim() > 1 else x.unsqueeze(0)


def _in_autocast(x: Tensor) -> bool:
    # Asked about "meta", which knows no autocast, torch raises an error.
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)
