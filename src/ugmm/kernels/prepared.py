"""What a kernel makes of a layer's parameters, kept for a scope in which these do not change."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Prepared", "split_columns", "whole_neurons"]


class Prepared:
    """A layer's parameters, each (out, in), and what the kernel that meets them makes of them.

    Arguments:
        parameters: loc, log_scale and logits, as `ugmm.functional.mixture_log_score` takes them.
        min_scale: the least standard deviation.

    Attributes:
        parameters: the first three.
        constants: the kernel's own; None until it has met them.
    """

    def __init__(self, *parameters: Tensor, min_scale: float = 0.0) -> None:
        self.parameters = parameters
        self.min_scale = min_scale
        self.constants: Any = None
        # Tensors of inference mode count no versions.
        self._versions = [None if t.is_inference() else t._version for t in parameters]
        self._addresses = [t.data_ptr() for t in parameters]
        self._halves: dict[Any, tuple[Prepared, Prepared] | None] = {}

    def split(self, n: int) -> tuple["Prepared", "Prepared"] | None:
        """The same of the components of the first n inputs, and of those of the others.

        None where a neuron has no component in one of them: see `whole_neurons`.
        """
        # Views know whether they carry gradients from when they are made.
        key = n, torch.is_grad_enabled(), *(t.requires_grad for t in self.parameters)
        if key not in self._halves:
            parts = split_columns(self.parameters, n)
            before, after = (Prepared(*part, min_scale=self.min_scale) for part in parts)
            whole = all(bool((part[2].amax(-1) > -math.inf).all()) for part in parts)
            self._halves[key] = (before, after) if whole else None
        return self._halves[key]

    def check(self, *parameters: Tensor, min_scale: float) -> None:
        """Raise RuntimeError unless these are the same parameters, and still as they were.

        A change is seen where torch counts it: in place, by an optimizer or `load_state_dict`,
        or by a move to other memory; not one through `.data` or a NumPy array.
        """
        states = zip(self.parameters, self._versions, self._addresses, parameters, strict=True)
        for kept, version, address, tensor in states:
            same = kept is tensor and tensor.data_ptr() == address and min_scale == self.min_scale
            if not same or (version is not None and tensor._version != version):
                raise RuntimeError(
                    "a layer's parameters were changed while prepared: leave `prepared()` first, "
                    "and enter it again after the change"
                )


def split_columns(parameters: Sequence[Tensor], n: int) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters of the first n inputs, and of the others: views."""
    return [t[:, :n] for t in parameters], [t[:, n:] for t in parameters]


def whole_neurons(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (out, in) by which each neuron has a score, and the logarithms of its weights' sum.

    A neuron of which all components are pruned, their logits -inf, has no score. Here it gets one
    with the weight 0, whose gradients are 0 too.
    """
    lost = logits.detach().amax(-1, keepdim=True) == -math.inf
    whole = logits.masked_fill(lost, 0.0)
    return whole, whole.logsumexp(-1).masked_fill(lost.squeeze(-1), -math.inf)
