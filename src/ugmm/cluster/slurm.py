"""The step of a Slurm job that has started this process beside others, if one has."""

import os
import re
from typing import NamedTuple

__all__ = ["Step", "current_job", "current_step"]

# Numbers from here on stand for the shell of a batch script or of an interactive job.
_SPECIAL = 0xFFFF_FFF0
_EVEN = re.compile(r"(\d+)(\(x\d+\))?")  # such as 4, or 4(x2) on two nodes; uneven: 4,3


class Step(NamedTuple):
    """What `srun` has started.

    Attributes:
        id: Job and step, such as `17.0`; a requeued job counts its steps anew.
        rank: Which of its processes this is.
        nodes: How many nodes it runs on.
        per_node: How many processes on each; None where nodes differ.
    """

    id: str
    rank: int
    nodes: int
    per_node: int | None


def current_step() -> Step | None:
    """Return the step of several processes that this one belongs to.

    None outside Slurm, and in a shell within a job, which has the job's variables but no step's:
    that of a batch script, of `salloc`, or of `srun --pty`.
    """
    environment = os.environ
    number, tasks = (environment.get(f"SLURM_STEP_{name}", "") for name in ("ID", "NUM_TASKS"))
    if not (number.isdecimal() and tasks.isdecimal()) or "SLURM_PTY_PORT" in environment:
        return None
    if int(number) >= _SPECIAL or int(tasks) == 1:
        return None
    even = _EVEN.fullmatch(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return Step(
        id=f"{environment['SLURM_JOB_ID']}.{number}",
        rank=int(environment["SLURM_PROCID"]),
        nodes=int(environment.get("SLURM_STEP_NUM_NODES", 1)),
        per_node=int(even[1]) if even else None,
    )


def current_job() -> str:
    """Return the job that this process is part of, such as `17`, or `18_2` in an array; or ""."""
    environment = os.environ
    if array := environment.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID", "")
