"""The operations: log-scores of a layer of univariate Gaussian mixture neurons."""

import torch
from torch import Tensor

from ugmm.kernels import KernelName, choose_cumulative, choose_kernel
from ugmm.kernels.problem import HALVES, check_layer, check_positions, check_start, check_tensors

__all__ = ["cumulative_log_score", "mixture_log_score"]


def mixture_log_score(
    x: Tensor, loc: Tensor, log_scale: Tensor, logits: Tensor, *, kernel: KernelName = "auto"
) -> Tensor:
    r"""Log-score of every neuron of a layer, each a mixture with one component per input.

    With :math:`\pi_j = \mathrm{softmax}(\mathrm{logits}_j)` and
    :math:`\sigma = \exp(\mathrm{log\_scale})`,

    .. math::
        s_j(x) = \log \sum_{k=1}^{N} \pi_{jk} \,
            \mathcal{N}\left(x_k \mid \mu_{jk}, \sigma_{jk}^2\right)

    It is a *score*: for :math:`N \ge 2` not a normalised density of :math:`x`. A logit of
    -inf drops its component; the other weights are renormalised. Under autocast the operation
    runs in float32; tensors in half precision are computed in float32 too, and the scores are
    of their type. It has derivatives of every order in every tensor, and knows the
    transforms of `torch.func`; see `ugmm.kernels.roads` for what these cost.

    Source: Z. S. Ali, "uGMM-NN: Univariate Gaussian Mixture Model Neural Network",
    arXiv:2509.07569.

    Args:
        x: inputs, (..., N).
        loc: means of the components, (M, N).
        log_scale: logarithms of their standard deviations, (M, N).
        logits: unnormalised logarithms of their weights, (M, N).
        kernel: `auto`, `reference`, `cpu` or `cuda`; see `ugmm.kernels.choose_kernel`.

    Returns:
        scores, (..., M).

    Raises:
        TypeError: an argument is no tensor, or the tensors differ in type or are no floats.
        ValueError: the shapes or devices do not fit together, or no kernel has this name.
    """
    check_tensors(x=x, loc=loc, log_scale=log_scale, logits=logits)
    if _in_autocast(x):
        x, loc, log_scale, logits = (_widened(t) for t in (x, loc, log_scale, logits))
    check_layer(x, loc, log_scale, logits, "logits")
    if x.dtype in HALVES:
        wide = (t.float() for t in (x, loc, log_scale, logits))
        return mixture_log_score(*wide, kernel=kernel).to(x.dtype)
    operator = choose_kernel(x, kernel)
    if x.dim() == 2:
        return operator(x, loc, log_scale, logits)
    # Not reshape(-1, N), which is refused where vmap maps over no rows.
    rows = x.flatten(end_dim=-2) if x.dim() > 1 else x.unsqueeze(0)
    score = operator(rows, loc, log_scale, logits)
    return score.reshape(*x.shape[:-1], loc.shape[0])


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
        tensors = tuple(_widened(t) for t in tensors)  # type: ignore[assignment]
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


def _in_autocast(x: Tensor) -> bool:
    # Asked about "meta", which knows no autocast, torch raises an error.
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALVES else tensor
