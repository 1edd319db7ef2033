"""Where a run stands: what its folder says of it, and Slurm of its job."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ugmm.cluster.lock import Holder, read_holder
from ugmm.errors import UserError
from ugmm.launch.following.places import Listed
from ugmm.launch.slurm import QueuedJob
from ugmm.metrics import find_metric

__all__ = ["Standing", "State", "find_jobs", "find_standing"]

State = Literal["waiting", "running", "requeued", "stopped", "failed", "finished"]

# Of a process elsewhere, of which nobody here can ask, what it has written lately tells.
_LATELY = 600.0


@dataclass(frozen=True)
class Standing:
    """Where a run stands; None, or an empty text, for what is not known.

    Attributes:
        name: Of the run.
        state: What it does.
        epoch: Which epoch of how many.
        step: Which step of how many.
        best: The best validation so far.
        speed: Steps in a second.
        left: Seconds until all steps are done.
        job: Its job in Slurm, and what that does.
    """

    name: str
    state: State
    epoch: str = ""
    step: str = ""
    best: str = ""
    speed: float | None = None
    left: float | None = None
    job: str = ""


def find_standing(listed: Listed, queue: Mapping[str, QueuedJob]) -> Standing:
    """Return where a run stands.

    Args:
        listed: The run.
        queue: The jobs that Slurm knows of.
    """
    holder = read_holder(listed.run)
    jobs = find_jobs(listed)
    job = next((job for job in jobs if job in queue), jobs[0] if jobs else "")
    state = _find_state(listed, holder, queue.get(job))
    shown = f"{job} {queue[job]}" if job in queue else job
    progress: dict[str, Any] = {}
    with suppress(UserError):  # a damaged file leaves gaps in the table, and no more
        progress = _find_progress(listed, holder, running=state == "running")
    return Standing(listed.name, state, **progress, job=shown)


def find_jobs(listed: Listed) -> list[str]:
    """Return the jobs that may be at a run, or may come to it, the likeliest first.

    That of its last process is one unless that has left: it may have gone on to another point.
    """
    holder = read_holder(listed.run)
    works = holder.job if holder is not None and holder.lives is not False else ""
    return list(dict.fromkeys(filter(None, (works, listed.read_job()))))


def _find_state(listed: Listed, holder: Holder | None, job: QueuedJob | None) -> State:
    run = listed.run
    if listed.is_over:
        return "finished"
    if holder is not None and holder.lives:
        return "running"
    if listed.failed:
        return "failed"
    if job is not None and job.lives:
        if job.runs:
            return "running"
        return "waiting" if holder is None else "requeued"
    if run.summary.is_file():  # without all of its pictures
        return "finished"
    if job is not None:
        return "failed" if job.failed else "stopped"
    if holder is None:
        return "stopped" if listed.read_job() or run.metrics.is_file() else "waiting"
    if (
        holder.lives is None
        and not holder.job
        and time.time() - _last_written(run.folder) < _LATELY
    ):
        return "running"
    return "stopped"


def _last_written(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.iterdir())


def _find_progress(listed: Listed, holder: Holder | None, *, running: bool) -> dict[str, Any]:
    """Return what `metrics.csv` says of how far a run is, and how fast.

    Raises:
        UserError: If a file is damaged.
    """
    run = listed.run
    rows = run.read_metrics()
    if not rows:
        return {}
    trainer = listed.read_trainer()
    epochs, monitor = int(trainer["max_epochs"]), str(trainer["monitor"])
    last = rows[-1]
    epoch, step = (int(last[name] or 0) for name in ("epoch", "step"))
    found: dict[str, Any] = {"epoch": f"{min(epoch + 1, epochs)}/{epochs}", "step": str(step + 1)}
    values = [value for row in rows if (value := row.get(monitor)) is not None]
    if values:
        metric = find_metric(monitor)
        best = min(values) if metric.goal == "min" else max(values)
        found["best"] = f"{monitor} {metric.format_alone(best)}"
    if summary := run.read_summary():
        found["step"] = f"{summary['steps']:.0f}"
        found["speed"] = summary["steps"] / summary["seconds"] if summary["seconds"] else None
        return found
    # The last row of an epoch says how many steps all have had; before the first ends, none does.
    each = max((int(row["step"] or 0) + 1) / (int(row["epoch"] or 0) + 1) for row in rows)
    steps = round(each * epochs) if epoch > 0 else None
    if steps is not None:
        found["step"] += f"/{steps}"
    if running and holder is not None and step > holder.step:
        seconds = run.metrics.stat().st_mtime - holder.since
        found["speed"] = (step - holder.step) / seconds if seconds > 0 else None
        if steps is not None and found["speed"]:
            found["left"] = max(0, steps - step - 1) / found["speed"]
    return found
