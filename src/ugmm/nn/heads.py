"""What stands between the last features of a network and its class scores."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.mixture import UGMM

__all__ = ["Gain", "Head", "check_head", "make_head"]

Head = Literal["mixture", "gain", "linear"]


def check_head(head: str) -> None:
    """Raise ValueError unless there is a head of this name."""
    if head not in ("mixture", "gain", "linear"):
        raise ValueError(f"head must be 'mixture', 'gain' or 'linear', got {head!r}")


def make_head(
    head: Head,
    in_features: int,
    n_classes: int,
    min_scale: float = 1e-3,
    kernel: KernelName = "auto",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    r"""Return a module from features (..., N) to class scores (..., C).

    A neuron's weights add up to one, so that its score is the logarithm of a *mean* of N
    densities. At the start, where all weights are alike, means of many neurons over the same
    features differ by about :math:`0.5 / \sqrt N`: the classes' scores are nearly equal, and the
    gradients with them.

    Args:
        head: ``"mixture"``, a neuron for each class; ``"gain"``, the same times a learned number,
            see `Gain`, which begins as :math:`\sqrt N`; ``"linear"``, an affine map.
        in_features: N.
        n_classes: C.
        min_scale: Floor under every scale of a neuron.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Raises:
        ValueError: If there is no such head, or a size is not positive.
    """
    check_head(head)
    if head == "linear":
        return nn.Linear(in_features, n_classes, device=device, dtype=dtype)
    neurons = UGMM(
        in_features, n_classes, min_scale=min_scale, kernel=kernel, device=device, dtype=dtype
    )
    if head == "mixture":
        return neurons
    return nn.Sequential(neurons, Gain(math.sqrt(in_features), device=device, dtype=dtype))


class Gain(nn.Module):
    r"""Multiplies class scores by one learned number: their posterior's inverse temperature.

    :math:`s_c \mapsto e^{g} s_c` keeps the order of the classes, and lets scores that are nearly
    equal become a posterior that is not.

    Arguments:
        start: What the number begins as, positive.
        device: Where it lives.
        dtype: Its floating-point type.

    Shapes:
        input (...), output the same; ``log_gain`` is a scalar.
    """

    log_gain: nn.Parameter

    def __init__(
        self,
        start: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.start = start
        self.log_gain = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin again."""
        nn.init.constant_(self.log_gain, math.log(self.start))

    def forward(self, scores: Tensor) -> Tensor:
        """Return the scores, multiplied."""
        return scores * self.log_gain.exp()

    def extra_repr(self) -> str:
        """Describe the gain in `repr`."""
        return f"start={self.start:.4g}"
