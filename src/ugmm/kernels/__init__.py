"""How the log-score of a layer is computed: the choice of a kernel."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ugmm.errors import UGMMWarning
from ugmm.kernels.coordinates.reference import Candidates
from ugmm.kernels.definition import Kernel
from ugmm.kernels.problem import Problem
from ugmm.kernels.reference import CUMULATIVE_REFERENCE, REFERENCE
from ugmm.kernels.reference import KERNEL as REFERENCE_KERNEL
from ugmm.kernels.roads import Road, choose_road, has_numbers

_Operator = Callable[..., Tensor]
CPU: _Operator | None
CUMULATIVE_CPU: _Operator | None
CPU_KERNEL: Kernel | None
CpuCandidates: type[Any] | None
Nearby: type[Any] | None
draw_binary: Callable[..., None] | None
send_binary: Callable[..., tuple[Tensor, Tensor, Tensor]] | None
try:  # Numba alone: an error in a file of ours is to be seen
    import numba  # noqa: F401
except ImportError:
    CPU = CUMULATIVE_CPU = CPU_KERNEL = CpuCandidates = Nearby = draw_binary = send_binary = None
else:
    from ugmm.kernels.coordinates.cpu import CpuCandidates
    from ugmm.kernels.coordinates.nearby import Nearby
    from ugmm.kernels.cumulative.cpu import CPU as CUMULATIVE_CPU
    from ugmm.kernels.draws.cpu import draw_binary, send_binary
    from ugmm.kernels.mixture.cpu import CPU
    from ugmm.kernels.mixture.cpu import KERNEL as CPU_KERNEL

__all__ = [
    "KernelName", "check_kernel_name", "choose_coordinates", "choose_cumulative", "choose_draws",
    "choose_kernel", "choose_nearby", "choose_populations", "choose_ways", "cuda_operator",
]  # fmt: skip

KernelName = Literal["auto", "reference", "cpu", "cuda"]
_NAMES = ("auto", "reference", "cpu", "cuda")
_without_triton = False
warned = False  # whether this process has been told that the reference takes a kernel's place


def choose_kernel(x: Tensor, kernel: str = "auto") -> _Operator:
    """The operator that computes a layer's scores, for an input of this device and type.

    Args:
        x: the layer's input.
        kernel: `reference` is the definition, in plain PyTorch; `cpu` and `cuda` are the fused
            ones, for float32 on such a device; `auto` takes the device's own. Where Numba or
            Triton, which these need, is missing or the type is not float32, the reference takes
            their place, with one warning a process.

    Returns:
        an operator: a `Problem`'s fields to scores.

    Raises:
        ValueError: `kernel` is none of the names, or is for another device than `x` is on.
    """
    return _choose(x, kernel, REFERENCE, CPU, "mixture")


def choose_ways(x: Tensor, kernel: str = "auto") -> Kernel:
    """What is behind the operator of `choose_kernel`, by its rules: forward and backward.

    They are for those who keep what backward needs themselves, on the direct road: see `roads`.
    """
    ways: Kernel = _choose(x, kernel, REFERENCE_KERNEL, CPU_KERNEL, "ways")
    return ways


def choose_cumulative(x: Tensor, kernel: str = "auto") -> _Operator:
    """The operator for cumulative scores, by the rules of `choose_kernel`.

    Returns:
        an operator: (x, loc, log_scale, log_weights, start, positions) to scores.
    """
    return _choose(x, kernel, CUMULATIVE_REFERENCE, CUMULATIVE_CPU, "cumulative")


def choose_draws(start: Tensor, kernel: str = "auto") -> Callable[..., None] | None:
    """The compiled loop that draws binary features, for scores of this device and type.

    Args:
        start: the scores of empty prefixes.
        kernel: as in `choose_kernel`.

    Returns:
        `draws.cpu.draw_binary`; None where plain PyTorch takes its place.
    """
    return draw_binary if _is_for_loops(start, kernel) else None


def choose_populations(
    start: Tensor, kernel: str = "auto"
) -> Callable[..., tuple[Tensor, Tensor, Tensor]] | None:
    """The compiled loop of populations, `draws.cpu.send_binary`, as `choose_draws` chooses."""
    return send_binary if _is_for_loops(start, kernel) else None


def _is_for_loops(start: Tensor, kernel: str) -> bool:
    compiled = kernel in ("auto", "cpu") and start.dtype == torch.float32
    return compiled and start.device.type == "cpu" and has_numbers(start)


def choose_coordinates(p: Problem, values: Tensor, kernel: str = "auto") -> type[Any]:
    """What computes the candidates of single inputs, by the rules of `choose_kernel`.

    Fused kernels keep no graph: where derivatives may be asked for, or nothing but the dispatcher
    knows what a tensor means, the reference takes their place.

    Args:
        p: The layer, and the rows.
        values: The candidates.
        kernel: As in `choose_kernel`.

    Returns:
        `coordinates.reference.Candidates`, or a class like it.
    """
    fused: type[Any] = _choose(p.x, kernel, Candidates, CpuCandidates, "coordinates")
    return fused if _only_numbers(*p[:4], values) else Candidates


def choose_nearby(p: Problem, kernel: str = "auto") -> type[Any] | None:
    """What computes a layer's scores of rows near one, `coordinates.nearby.Nearby`, or None."""
    compiled = kernel in ("auto", "cpu") and p.x.dtype == torch.float32
    here = compiled and p.x.device.type == "cpu" and _only_numbers(*p[:4])
    return Nearby if here else None


def _only_numbers(*tensors: Tensor) -> bool:
    """Whether nothing is asked of tensors but their numbers: no graph, no transform."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return False
    return choose_road(*tensors) is Road.DIRECT and all(has_numbers(t) for t in tensors)


def check_kernel_name(kernel: str) -> None:
    """Raise ValueError unless a kernel has this name."""
    if kernel not in _NAMES:
        raise ValueError(f"kernel must be one of {', '.join(_NAMES)}, not {kernel!r}")


def _choose(x: Tensor, kernel: str, reference: Any, cpu: Any, room: str) -> Any:
    check_kernel_name(kernel)
    if kernel == "reference":
        return reference
    device = x.device.type
    if kernel != "auto" and device not in (kernel, "meta"):
        where = "the CPU" if kernel == "cpu" else "a CUDA device"
        raise ValueError(f"kernel={kernel!r} needs tensors on {where}, not on {x.device}")
    if device not in ("cpu", "cuda"):
        return reference
    fused = cuda_operator(room) if device == "cuda" else cpu
    if fused is not None and x.dtype == torch.float32:
        return fused
    if not torch.compiler.is_compiling():
        package = "Triton" if device == "cuda" else "Numba"
        _warn_once(
            f"{package} is not installed" if fused is None else f"it does not do {x.dtype}", device
        )
    return reference


def cuda_operator(room: str) -> Any:
    """What a room has for CUDA devices: an operator or what is behind it, or a class; or None.

    That is where Triton is missing. A machine without such a device need not import it.
    """
    global _without_triton
    if _without_triton:
        return None
    try:
        import triton  # noqa: F401
    except ImportError:
        _without_triton = True
        return None
    if room == "mixture":
        from ugmm.kernels.mixture.cuda import CUDA
    elif room == "ways":
        from ugmm.kernels.mixture.cuda import KERNEL

        return KERNEL
    elif room == "cumulative":
        from ugmm.kernels.cumulative.cuda import CUDA
    else:
        from ugmm.kernels.coordinates.cuda import CudaCandidates

        return CudaCandidates
    return CUDA


def _warn_once(reason: str, device: str) -> None:
    global warned
    if not warned:
        warned = True
        warnings.warn(
            f"the fused {device.upper()} kernel is not used, since {reason}: the reference takes "
            "its place, which is slower",
            UGMMWarning,
            stacklevel=5,
        )
