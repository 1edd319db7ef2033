"""Runs as a Weights & Biases sweep, whose agents start them one by one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ugmm.errors import UserError

__all__ = ["run_sweep"]


def run_sweep(
    title: str,
    points: Sequence[str],
    command: Sequence[str],
    metric: str,
    goal: Literal["max", "min"],
    *,
    entity: str | None,
    project: str,
    jobs: int,
) -> None:
    """Create a sweep over points and work on it with agents of this machine, to its end.

    Each agent starts `ugmm COMMAND --point=NAME` for one point after the other: machines that
    share the folder of the runs may join, by `wandb agent`.

    Args:
        title: What the sweep is called.
        points: The names of what is left to do.
        command: Of `ugmm`, without the point.
        metric: What the runs are compared by.
        goal: Which way it is better.
        entity: Whose project it is; None for the account's own.
        project: Where the sweep and its runs are.
        jobs: Agents.

    Raises:
        UserError: If W&B cannot be reached.
    """
    from ugmm.tracking.access import in_one_line, obstacle

    if reason := obstacle():
        raise UserError(f"{reason}; run 'wandb login', or leave --wandb out")
    import wandb

    config = {
        "name": title,
        "method": "grid",
        "metric": {"name": metric, "goal": {"max": "maximize", "min": "minimize"}[goal]},
        "parameters": {"point": {"values": list(points)}},
        "command": ["${env}", sys.executable, "-m", "ugmm", *command, "${args}"],
    }
    with in_one_line("W&B did not make the sweep", "mend that, or leave --wandb out"):
        sweep = wandb.sweep(config, entity=entity, project=project)
        path = f"{entity or wandb.Api().default_entity}/{project}/{sweep}"
    sys.stdout.write(f"sweep {path}; other machines join by: wandb agent {path}\n")
    sys.stdout.flush()
    _run_agents(path, jobs)


def _run_agents(path: str, jobs: int) -> None:
    """Run agents of this machine until the sweep has ended, or this process has."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    program = str(Path(sys.executable).with_name("wandb"))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "WANDB_SILENT": "true"}
    agents = [subprocess.Popen([program, "agent", path], env=environment) for _ in range(jobs)]
    try:
        for agent in agents:
            agent.wait()
    finally:
        for agent in agents:
            if agent.poll() is None:
                agent.terminate()
                agent.wait()
