"""The command `ugmm logs`: what the job of a run has written."""

import math
import time
from codecs import getincrementaldecoder
from pathlib import Path

from ugmm.cluster.lock import read_holder
from ugmm.errors import UserError
from ugmm.launch.following.places import find_runs, find_studies, locate_folder
from ugmm.launch.following.status import is_going_on, read_standings
from ugmm.terminal import answer, warn

__all__ = ["show_output"]

_LOOK_SECONDS = 0.5
_ASK_SECONDS = 10.0  # between two questions to Slurm


def show_output(place: str, *, follow: bool = False) -> None:
    """Write what the newest job of a run or a study has written.

    Args:
        place: A run folder, or a group.
        follow: Go on as it writes more, until it ends.

    Raises:
        UserError: If there is no such output.
    """
    folder = locate_folder(place)
    going_on = _Asking(folder) if follow else bool
    path = _find_output(folder)
    if path is None and going_on():
        warn(f"{folder} has not begun; its output will follow")
    while path is None and going_on():
        time.sleep(_LOOK_SECONDS)
        path = _find_output(folder)
    if path is None:
        raise UserError(_explain_absence(folder))
    decoder = getincrementaldecoder("utf-8")("replace")  # a letter may come in two parts
    shown, last = 0, False
    while not last:
        last = not going_on()  # before it is read: what is written at the very end is, too
        with path.open("rb") as file:
            file.seek(shown)
            new = file.read()
        shown += len(new)
        answer(decoder.decode(new))
        if not last:
            time.sleep(_LOOK_SECONDS)


class _Asking:
    """Tells whether anything of a folder runs or waits, and asks Slurm for it now and then.

    Arguments:
        folder: Of a run or a group.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.answer, self.asked = folder, False, -math.inf

    def __call__(self) -> bool:
        """Return the answer of a moment ago."""
        if time.monotonic() - self.asked > _ASK_SECONDS:
            self.answer = is_going_on(*read_standings([self.folder]))
            self.asked = time.monotonic()
        return self.answer


def _find_output(folder: Path) -> Path | None:
    """Return the file that was written to last."""
    found = [*folder.glob("job-*.out"), *folder.glob("*/job-*.out")]  # of a run, of a group's
    for study in find_studies(folder):
        found += study.glob("logs/job-*.out")
    holder = read_holder(find_runs(folder)[0].run) if (folder / "config.yaml").is_file() else None
    if holder is not None:  # a point's is in that of the worker that ran it
        found += folder.parent.glob(f"ablation/logs/worker-{holder.owner.pid}.txt")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _explain_absence(folder: Path) -> str:
    listed = find_runs(folder)
    holder = read_holder(listed[0].run) if len(listed) == 1 else None
    if listed and listed[0].read_job():
        return f"job {listed[0].read_job()} of {folder} has written nothing yet; wait for it"
    if holder is not None:
        started = f"({holder.command}) on {holder.owner.host}"
        return f"{folder} is no job: its output went where it was started {started}"
    return f"{folder} has no output of a job; see: ugmm status {folder}"
