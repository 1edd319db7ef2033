"""Slurm's own commands, asked in one line each."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ugmm.errors import UserError

__all__ = ["submit"]

# Of where to find Slurm and who one is. All others tell of the job that a shell may be in, and the
# new job would take them for its own.
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS")


def submit(script: Path) -> str:
    """Submit a job; return its id.

    Raises:
        UserError: If there is no Slurm here, or it refuses.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name in _KEPT
    }
    done = _call(["sbatch", "--parsable", str(script)], environment)
    if done is None:
        raise UserError(
            "there is no sbatch here: launch where jobs are submitted to Slurm, choose "
            "cluster=torchrun, or look at the script with --dry-run"
        )
    if done.returncode:
        raise UserError(f"Slurm refuses the job: {_words(done.stderr)}; see the keys of cluster")
    return done.stdout.strip().partition(";")[0]  # what follows names one of several clusters


def _call(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str] | None:
    """Run a command; None if it is not here."""
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
    except (FileNotFoundError, PermissionError):
        return None


def _words(said: str) -> str:
    """Return in a line what a command of Slurm complains of."""
    lines = [line.partition("error: ")[2] or line for line in said.splitlines()]
    return "; ".join(line.strip() for line in lines if line.strip()) or "it does not say why"
