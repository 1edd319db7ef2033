"""Launches of Triton kernels, as cheap as can be once there has been one of a kind."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["Launcher", "kind_of"]

_Grid = Callable[[Mapping[str, Any]], tuple[int, int, int]]
_LOCK = threading.Lock()
_ALIGNED = 16  # bytes: Triton compiles anew for pointers that are no multiples


def kind_of(*tensors: Tensor | None) -> tuple[Any, ...] | None:
    """The device of tensors, the first one's, and their types; None if one is not aligned."""
    bits = 0
    kind: list[Any] = []
    for tensor in tensors:
        if tensor is None:
            kind.append(None)
        else:
            bits |= tensor.data_ptr()
            kind.append(tensor.dtype)
    assert tensors[0] is not None
    return None if bits % _ALIGNED else (tensors[0].get_device(), *kind)


class Launcher:
    """Launches one kernel.

    Triton finds out at each launch for which types, alignments and constants a kernel must be
    compiled, and which tile is the best. That costs 10 us, and 16 where tiles are tuned, for 2 us
    of a launch of what was found; so this keeps what was found.

    Arguments:
        kernel: the kernel; constants are the last of its parameters.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._found: dict[Any, tuple[Any, dict[str, Any], list[Any]]] = {}

    def __call__(self, kind: Any, grid: _Grid, *args: Any, **constants: Any) -> None:
        """Launch on the current device.

        Args:
            kind: two launches of one kind have tensors of one `kind_of`, the same constants and
                the same tile. None: it is of no kind.
            grid: the constants, those of the tile among them, to the numbers of programs.
            args: all parameters but constants.
            constants: the others, less those of the tile; and options of the compiler.
        """
        found = self._found.get(kind)
        if found is None:
            self._first(kind, grid, args, constants)
        else:
            compiled, named, values = found
            compiled[grid(named)](*args, *values)

    def _first(self, kind: Any, grid: _Grid, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        with _LOCK:  # lest another thread's launch change the best tile
            compiled = self._kernel[grid](*args, **named)
            if kind is None or compiled is None:  # which an interpreter says
                return
            best = getattr(self._kernel, "best_config", None)
            named = named if best is None else {**named, **best.kwargs}
            values = [named[name] for name in self._kernel.arg_names[len(args) :]]
            self._found[kind] = compiled, named, values
