"""Launches of Triton kernels, as cheap as can be once there has been one of a kind."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Launcher"]

_Grid = Callable[[Mapping[str, Any]], tuple[int, int, int]]
_LOCK = threading.Lock()


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
            kind: two launches of one kind have arguments of the same types and the same constants,
                want the same tile, and are on one device; and all their tensors lie at multiples
                of 16 bytes. None: the launch is of no kind.
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
