"""How the log-score of a layer is computed: the choice of a kernel."""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ugmm.kernels.reference import REFERENCE

CPU: Callable[..., tuple[Tensor, ...]] | None
try:
    from ugmm.kernels.cpu import CPU
except ImportError:  # Numba is missing
    CPU = None

__all__ = ["KernelName", "choose_kernel"]

KernelName = Literal["auto", "reference", "cpu"]
_NAMES = ("auto", "reference", "cpu")
_warned = False


def choose_kernel(x: Tensor, kernel: str = "auto") -> Callable[..., tuple[Tensor, ...]]:
    """The operator that computes a layer's scores, for an input of this device and type.

    Args:
        x: the layer's input.
        kernel: `reference` is the definition, in plain PyTorch; `cpu` the fused one, for float32
            on a CPU; `auto` takes `cpu` where it can. Where Numba is missing or the type is not
            float32, `auto` and `cpu` both fall back to `reference`, with one warning a process.

    Returns:
        an operator: (x, loc, log_scale, logits) to (scores, and two tensors that its backward needs).

    Raises:
        ValueError: `kernel` is none of the names, or is `cpu` and `x` is on another device.
    """
    if kernel not in _NAMES:
        raise ValueError(f"kernel must be one of {', '.join(_NAMES)}, not {kernel!r}")
    if kernel == "reference":
        return REFERENCE
    if x.device.type not in ("cpu", "meta"):
        if kernel == "cpu":
            raise ValueError(f"kernel='cpu' needs tensors on the CPU, not on {x.device}")
        return REFERENCE
    if CPU is not None and x.dtype == torch.float32 and x.device.type == "cpu":
        return CPU
    if not torch.compiler.is_compiling():
        _warn_once("Numba is not installed" if CPU is None else f"it does not do {x.dtype}")
    return REFERENCE


def _warn_once(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"the fused CPU kernel is not used, since {reason}: the reference takes its place, "
            "which is slower",
            RuntimeWarning,
            stacklevel=4,
        )
