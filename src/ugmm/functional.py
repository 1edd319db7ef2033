"""The operations: log-scores of a layer of univariate Gaussian mixture neurons."""

import torch
from torch import Tensor

from ugmm.kernels import KernelName, choose_cumulative, choose_kernel

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
    runs in float32. It has first derivatives in every tensor, and no second ones.

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
        TypeError: the tensors differ in type, or are neither float32 nor float64.
        ValueError: the shapes or devices do not fit together, or no kernel has this name.
    """
    if _in_autocast(x):
        x, loc, log_scale, logits = (_widened(t) for t in (x, loc, log_scale, logits))
    _check(x, loc, log_scale, logits, "logits")
    operator = choose_kernel(x, kernel)
    if x.dim() == 2:
        return operator(x, loc, log_scale, logits)[0]
    score = operator(x.reshape(-1, x.shape[-1]), loc, log_scale, logits)[0]
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
    which nothing scores has the score -inf, and gives no gradient. Under autocast the operation
    runs in float32. It has first derivatives in every tensor, and no second ones.

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
        TypeError: the tensors differ in type, are neither float32 nor float64, or the positions
            are no int64.
        ValueError: the shapes or devices do not fit together, the positions are out of range or
            not increasing (not looked at under `torch.compile`), or no kernel has this name.
    """
    tensors = (x, loc, log_scale, log_weights, start)
    if _in_autocast(x):
        tensors = tuple(_widened(t) for t in tensors)  # type: ignore[assignment]
    x, loc, log_scale, log_weights, start = tensors
    if x.dim() != 2:
        raise ValueError(f"x must be (B, N), not {tuple(x.shape)}")
    _check(x, loc, log_scale, log_weights, "log_weights")
    _check_start(start, x, loc)
    if positions is not None:
        _check_positions(positions, x)
    return choose_cumulative(x, kernel)(*tensors, positions)[0]


def _in_autocast(x: Tensor) -> bool:
    # Asked about "meta", which knows no autocast, torch raises an error.
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _check(x: Tensor, loc: Tensor, log_scale: Tensor, logits: Tensor, name: str) -> None:
    if loc.dim() != 2 or 0 in loc.shape:
        raise ValueError(f"loc must be (M, N) with M and N at least 1, not {tuple(loc.shape)}")
    if log_scale.shape != loc.shape or logits.shape != loc.shape:
        raise ValueError(
            f"loc {tuple(loc.shape)}, log_scale {tuple(log_scale.shape)} and {name} "
            f"{tuple(logits.shape)} must have the same shape"
        )
    if x.dim() == 0 or x.shape[-1] != loc.shape[1]:
        raise ValueError(f"x {tuple(x.shape)} must end with loc's {loc.shape[1]} inputs")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    if not x.dtype == loc.dtype == log_scale.dtype == logits.dtype:
        raise TypeError(
            f"x, loc, log_scale and {name} must have one dtype, not {x.dtype}, {loc.dtype}, "
            f"{log_scale.dtype} and {logits.dtype}"
        )
    if not x.device == loc.device == log_scale.device == logits.device:
        raise ValueError(
            f"x, loc, log_scale and {name} must be on one device, not {x.device}, {loc.device}, "
            f"{log_scale.device} and {logits.device}"
        )


def _check_start(start: Tensor, x: Tensor, loc: Tensor) -> None:
    shape = (x.shape[0], loc.shape[0])
    if start.shape != shape:
        raise ValueError(f"start must be (B, M), here {shape}, not {tuple(start.shape)}")
    if start.dtype != x.dtype:
        raise TypeError(f"start must have x's dtype {x.dtype}, not {start.dtype}")
    if start.device != x.device:
        raise ValueError(f"start must be on x's device {x.device}, not on {start.device}")


def _check_positions(positions: Tensor, x: Tensor) -> None:
    if positions.dtype != torch.int64:
        raise TypeError(f"positions must be int64, not {positions.dtype}")
    if positions.dim() != 1:
        raise ValueError(f"positions must be (P,), not {tuple(positions.shape)}")
    if positions.device != x.device:
        raise ValueError(f"positions must be on x's device {x.device}, not on {positions.device}")
    if torch.compiler.is_compiling() or positions.is_meta or not len(positions):
        return
    first, last, n_in = int(positions[0]), int(positions[-1]), x.shape[1]
    if first < 0 or last >= n_in or not bool((positions.diff() > 0).all()):
        raise ValueError(f"positions must increase strictly from 0 at least to {n_in - 1} at most")
