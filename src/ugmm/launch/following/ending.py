"""The command `ugmm cancel`: end what is running, and what waits to."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from ugmm.cluster.lock import read_holder
from ugmm.errors import UserError
from ugmm.launch.following.places import find_runs, find_studies, locate_folder
from ugmm.launch.following.standing import find_jobs
from ugmm.launch.slurm import cancel, read_queue
from ugmm.report.escaping import for_terminal
from ugmm.terminal import say

__all__ = ["end"]


def end(places: Sequence[str]) -> None:
    """Cancel the jobs of runs and studies, and tell processes of this machine to stop.

    Args:
        places: Run folders, or groups.

    Raises:
        UserError: If nothing of them can be ended from here.
    """
    for place in places:
        folder = locate_folder(place)
        ended = _cancel_jobs(folder) + _stop_processes(folder)
        for line in ended:
            say(for_terminal(line))
        if not ended:
            raise UserError(f"nothing of {folder} runs or waits; see: ugmm status {folder}")


def _cancel_jobs(folder: Path) -> list[str]:
    """Cancel what Slurm still has of a folder; say in a line each what that was."""
    given = {job: str(study) for study, job in find_studies(folder).items()}
    for one in find_runs(folder):
        given |= {job: str(one.run.folder) for job in find_jobs(one)}
    queue = read_queue(given)
    lines = []
    for job, name in given.items():
        if any(_is_of(job, other) and queue[other].lives for other in queue):
            cancel(job)
            lines.append(f"cancelled job {job}: {name}")
    return lines


def _is_of(job: str, other: str) -> bool:
    """Whether a job is another, or an array of which that is a task."""
    return other == job or other.partition("_")[0] == job


def _stop_processes(folder: Path) -> list[str]:
    """Tell processes of this machine to stop; say in a line each which those were.

    Raises:
        UserError: If one is elsewhere.
    """
    lines = []
    for listed in find_runs(folder):
        holder = read_holder(listed.run)
        if holder is None or holder.lives is False or holder.job or listed.is_over:
            continue
        process = f"process {holder.owner.pid}"
        if holder.lives is None:
            raise UserError(
                f"{listed.run.folder} was begun by {process} on {holder.owner.host} "
                f"({holder.command}), which cannot be reached from here; end it there"
            )
        os.kill(holder.owner.pid, signal.SIGTERM)
        lines.append(f"told {process} to stop: {listed.run.folder}")
    return lines
