"""How many CPUs this process may use, which may be a few of the machine's."""

import os

__all__ = ["count_cpus"]


def count_cpus() -> int:
    """Return how many CPUs are this process's own: those it is bound to, or that Slurm gave it.

    Not every cluster binds processes to what it gave them.
    """
    try:
        bound = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        bound = os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(bound, int(given)) if given.isdecimal() and int(given) else bound
