"""The process that `ugmm` and `python -m ugmm` start."""

import sys
import warnings
from typing import Any

from ugmm.cluster.signals import run_process
from ugmm.errors import UGMMWarning
from ugmm.terminal import guard_streams, warn

__all__ = ["main"]


def main() -> int:
    """Run the command of this process; return its exit code."""
    guard_streams()
    show_warnings_as_lines()
    return run_process(_run)


def show_warnings_as_lines() -> None:
    """Show this package's warnings without the place in its sources; others as ever."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, UGMMWarning):
            warn(f"ugmm: warning: {message}")
        else:
            others(message, category, *rest, **more)

    warnings.showwarning = show


def _run() -> int:
    from ugmm.cli import main  # a signal may come while this imports

    return main()


if __name__ == "__main__":
    sys.exit(main())
