"""`jobs.json`: the jobs that a folder was given to, the newest last."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ugmm.errors import UserError
from ugmm.reading import read_json
from ugmm.writing import write_atomic

__all__ = ["SCRIPT", "JobRecord", "add_job", "read_jobs"]

SCRIPT = "job.sh"
_NAME = "jobs.json"


@dataclass(frozen=True)
class JobRecord:
    """A job.

    Attributes:
        id: Its number in Slurm; that of the whole array, where it is one.
        submitted: When.
    """

    id: str
    submitted: str


def add_job(folder: Path, job_id: str) -> None:
    """Write down that a folder was given to a job."""
    record = JobRecord(job_id, time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    jobs = [asdict(job) for job in (*read_jobs(folder), record)]
    write_atomic(folder / _NAME, json.dumps({"jobs": jobs}, indent=2) + "\n")


def read_jobs(folder: Path) -> list[JobRecord]:
    """Return the jobs that a folder was given to; none where it was run by hand.

    Raises:
        UserError: If the file is damaged.
    """
    path = folder / _NAME
    if not path.is_file():
        return []
    remedy = "remove it, and ask Slurm itself"
    try:
        jobs = read_json(path, remedy, {"jobs": list}).get("jobs", [])
        return [JobRecord(str(job["id"]), str(job["submitted"])) for job in jobs]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}); {remedy}") from error
