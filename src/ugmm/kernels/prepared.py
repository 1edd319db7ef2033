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
        # Tensors of inference mode count no versions.
        self._versions = [None if t.is_inference() else t._version for t in parameters]
        self._addresses = [t.data_ptr() for t in parameters]
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
        states = zip(self.parameters, self._versions, self._addresses, parameters, strict=True)
        for kept, version, address, tensor in states:
            same = kept is tensor and tensor.data_ptr() == address
            if not same or (version is not None and tensor._version != version):
                raise RuntimeError(
                    "a layer's parameters were changed while prepared: leave `prepared()` first, "
                    "and enter it again after the change"
                )
