"""An ablation as a Weights & Biases sweep, whose agents run its points."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ugmm.errors import UserError
from ugmm.studies.ablation.definition import Ablation, Point

__all__ = ["label", "start_sweep"]


def label(point: Point) -> str:
    """What a point is called in the sweep."""
    return f"{point.variant} {point.repetition}"


def start_sweep(ablation: Ablation, source: str, points: Sequence[Point], jobs: int) -> None:
    """Create a sweep over these points and work on it with agents of this machine, to its end.

    Each agent starts `ugmm ablate NAME --point ...` for one point after the other, which claims it
    like any worker: machines that share the folder may join, by `wandb agent`.

    Args:
        ablation: Whose points they are.
        source: How the ablation was named.
        points: What is left to do.
        jobs: Agents.

    Raises:
        UserError: If W&B cannot be reached.
    """
    from ugmm.tracking.session import obstacle

    if reason := obstacle():
        raise UserError(f"{reason}; run 'wandb login', or leave --wandb out")
    import wandb

    tracking = points[0].resolved().tracking
    command = ["${env}", sys.executable, "-m", "ugmm", "ablate", source, "${args}"]
    config = {
        "name": ablation.title,
        "method": "grid",
        "metric": {
            "name": ablation.settings.metric,
            "goal": {"max": "maximize", "min": "minimize"}[ablation.goal],
        },
        "parameters": {"point": {"values": [label(point) for point in points]}},
        "command": command,
    }
    sweep = wandb.sweep(config, entity=tracking.entity, project=tracking.project)
    entity = tracking.entity or wandb.Api().default_entity
    path = f"{entity}/{tracking.project}/{sweep}"
    sys.stdout.write(f"sweep {path}; other machines join by: wandb agent {path}\n")
    sys.stdout.flush()
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
