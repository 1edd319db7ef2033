"""The process that `ugmm` and `python -m ugmm` start."""

import sys

from ugmm.cluster.signals import run_process
from ugmm.terminal import guard_streams

__all__ = ["main"]


def main() -> int:
    """Run the command of this process; return its exit code."""
    guard_streams()
    return run_process(_run)


def _run() -> int:
    from ugmm.cli import main  # a signal may come while this imports

    return main()


if __name__ == "__main__":
    sys.exit(main())
