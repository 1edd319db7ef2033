"""What a kernel makes of a layer's parameters, kept for a scope in which these do not change."""

from typing import Any

from torch import Tensor

__all__ = ["Prepared"]


class Prepared:
    """A layer's parameters, each (out, in), and what the kernel that meets them makes of them.

    Arguments:
        parameters: loc, log_scale and logits, as `ugmm.functional.mixture_log_score` takes them.

    Attributes:
        parameters: these.
        constants: the kernel's own; None until it has met them.
    """

    def __init__(self, *parameters: Tensor) -> None:
        self.parameters = parameters
        self.constants: Any = None
        self._states = [_state(tensor) for tensor in parameters]
        self._halves: dict[int, tuple[Prepared, Prepared]] = {}

    def split(self, n: int) -> tuple["Prepared", "Prepared"]:
        """The same of the components of the first n inputs, and of those of the others."""
        if n not in self._halves:
            first, rest = slice(n), slice(n, None)
            parts = ([t[:, columns] for t in self.parameters] for columns in (first, rest))
            before, after = (Prepared(*part) for part in parts)
            self._halves[n] = before, after
        return self._halves[n]

    def check(self, *parameters: Tensor) -> None:
        """Raise RuntimeError unless these are the same parameters, and still as they were.

        A change is seen where torch counts it: in place, by an optimizer or `load_state_dict`,
        or by a move to other memory; not one through `.data` or a NumPy array.
        """
        for kept, state, tensor in zip(self.parameters, self._states, parameters, strict=True):
            if kept is not tensor or _state(tensor) != state:
                raise RuntimeError(
                    "a layer's parameters were changed while prepared: leave `prepared()` first, "
                    "and enter it again after the change"
                )


def _state(tensor: Tensor) -> tuple[int, int]:
    version = 0 if tensor.is_inference() else tensor._version
    return version, tensor.data_ptr()
