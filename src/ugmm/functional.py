"""The one operation: the log-score of a layer of univariate Gaussian mixture neurons."""

import torch
from torch import Tensor

from ugmm.kernels import KernelName, choose_kernel

__all__ = ["mixture_log_score"]


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
    if torch.is_autocast_enabled(x.device.type):
        x, loc, log_scale, logits = (_widened(t) for t in (x, loc, log_scale, logits))
    _check(x, loc, log_scale, logits)
    operator = choose_kernel(x, kernel)
    if x.dim() == 2:
        return operator(x, loc, log_scale, logits)[0]
    score = operator(x.reshape(-1, x.shape[-1]), loc, log_scale, logits)[0]
    return score.reshape(*x.shape[:-1], loc.shape[0])


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _check(x: Tensor, loc: Tensor, log_scale: Tensor, logits: Tensor) -> None:
    if loc.dim() != 2 or 0 in loc.shape:
        raise ValueError(f"loc must be (M, N) with M and N at least 1, not {tuple(loc.shape)}")
    if log_scale.shape != loc.shape or logits.shape != loc.shape:
        raise ValueError(
            f"loc {tuple(loc.shape)}, log_scale {tuple(log_scale.shape)} and logits "
            f"{tuple(logits.shape)} must have the same shape"
        )
    if x.dim() == 0 or x.shape[-1] != loc.shape[1]:
        raise ValueError(f"x {tuple(x.shape)} must end with loc's {loc.shape[1]} inputs")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    if not x.dtype == loc.dtype == log_scale.dtype == logits.dtype:
        raise TypeError(
            f"x, loc, log_scale and logits must have one dtype, not {x.dtype}, {loc.dtype}, "
            f"{log_scale.dtype} and {logits.dtype}"
        )
    if not x.device == loc.device == log_scale.device == logits.device:
        raise ValueError(
            f"x, loc, log_scale and logits must be on one device, not {x.device}, {loc.device}, "
            f"{log_scale.device} and {logits.device}"
        )
