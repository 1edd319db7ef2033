"""The command `ugmm status`: a table of runs and points, once or again and again."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ugmm.launch.following.places import find_runs, find_studies, locate_folder
from ugmm.launch.following.standing import Standing, find_jobs, find_standing
from ugmm.launch.slurm import QueuedJob, read_queue
from ugmm.report.escaping import for_rich
from ugmm.report.tables import NONE, format_count, format_time

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["is_going_on", "read_standings", "show_status"]

_LOOK_SECONDS = 10.0
_WIDE = 160  # columns where the output is no terminal, and lines need not end anywhere


@dataclass(frozen=True)
class StudyJob:
    """The job of a study.

    Attributes:
        folder: Of the study.
        id: Of the job.
        tasks: Of an array, those that Slurm still knows of; of one job alone, itself.
    """

    folder: Path
    id: str
    tasks: list[QueuedJob]

    def __str__(self) -> str:
        """Return it in words."""
        return f"job {self.id} of {self.folder}: {_count(self.tasks) or 'has ended'}"


def show_status(places: Sequence[str], *, watch: bool = False) -> None:
    """Show where runs stand.

    Args:
        places: Run folders, groups, or folders of those. Without any, all runs that are not
            finished are shown.
        watch: Look again every few seconds, until nothing runs or waits.

    Raises:
        UserError: If a place is none.
    """
    from rich.console import Console

    console = Console()
    console = console if console.is_terminal else Console(width=_WIDE)
    folders = [locate_folder(place) for place in places or ["runs"]]
    while True:
        standings, studies = read_standings(folders)
        if watch:
            console.clear()
        _show(console, standings, studies, all_of_them=bool(places))
        if not (watch and is_going_on(standings, studies)):
            return
        time.sleep(_LOOK_SECONDS)


def read_standings(folders: Sequence[Path]) -> tuple[list[Standing], list[StudyJob]]:
    """Return where the runs of some folders stand, and what became of the jobs of studies."""
    listed = list({one.run.folder: one for f in folders for one in find_runs(f)}.values())
    studies = {study: job for folder in folders for study, job in find_studies(folder).items()}
    left = [one for one in listed if not one.is_over]
    queue = read_queue({*studies.values(), *(job for one in left for job in find_jobs(one))})
    standings = [find_standing(one, queue) for one in listed]
    of_studies = [
        StudyJob(folder, job, [queue[task] for task in queue if task.partition("_")[0] == job])
        for folder, job in studies.items()
    ]
    return standings, of_studies


def is_going_on(standings: Sequence[Standing], studies: Sequence[StudyJob]) -> bool:
    """Return whether anything runs, or waits for Slurm to start it."""
    return any(s.state in ("running", "requeued") for s in standings) or (
        any(s.state == "waiting" and s.job for s in standings)
        or any(task.lives for study in studies for task in study.tasks)
    )


def _show(
    console: "Console",
    standings: Sequence[Standing],
    studies: Sequence[StudyJob],
    *,
    all_of_them: bool,
) -> None:
    shown = [s for s in standings if all_of_them or s.state != "finished"]
    if shown:
        console.print(_make_table(shown))
    told = _count(standing.state for standing in standings)
    console.print(for_rich(f"{format_count(len(standings), 'run')}{': ' * bool(told)}{told}"))
    for study in studies:
        console.print(for_rich(str(study)))


def _count(states: Iterable[object]) -> str:
    """Return how many there are of each state, in words; nothing if there are none."""
    return ", ".join(f"{n} {state}" for state, n in Counter(map(str, states)).items())


def _make_table(standings: Sequence[Standing]) -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("run", overflow="fold")
    for heading in ("state", "epoch", "step", "best", "steps/s", "left", "job"):
        table.add_column(heading, justify="left" if heading in ("state", "job") else "right")
    for s in standings:
        speed = NONE if s.speed is None else f"{s.speed:.3g}"
        left = NONE if s.left is None else format_time(float(f"{s.left:.2g}"))
        cells = (s.name, s.state, s.epoch, s.step, s.best, speed, left, s.job)
        table.add_row(*(for_rich(cell or NONE) for cell in cells))
    return table
