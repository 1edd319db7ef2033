"""The runs that a place stands for, with the points that a study has yet to run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ugmm.errors import UserError
from ugmm.launch.jobs import read_jobs
from ugmm.runs import Run
from ugmm.studies.ablation import Ledger
from ugmm.studies.ablation.points import load_frozen

__all__ = ["Listed", "find_runs", "find_studies", "locate_folder"]

_STUDY = "ablation"  # the folder of a group that has its plan


@dataclass(frozen=True)
class Listed:
    """A run, which may be a point that has not begun.

    Attributes:
        run: Its folder, which may not exist yet.
        name: What a table calls it.
        config: As it was frozen; None where nobody has read it yet.
        failed: Whether it is a point of which its study says so.
    """

    run: Run
    name: str
    config: Mapping[str, Any] | None = None
    failed: bool = False

    @property
    def is_over(self) -> bool:
        """Whether all of it is done, its pictures too."""
        return self.run.summary.is_file() and not self.run.undrawn.exists()

    def read_trainer(self) -> Mapping[str, Any]:
        """Return the keys of `trainer`.

        Raises:
            UserError: If the configuration is damaged.
        """
        if self.config is not None:
            return self.config["trainer"]
        try:
            text = self.run.config.read_text(encoding="utf-8")
            return load_frozen(text, str(self.run.config))["trainer"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{self.run.config} is damaged ({error}); mend it") from error

    def read_job(self) -> str:
        """Return the job that the folder was given to last; empty where it was given to none."""
        jobs = read_jobs(self.run.folder)
        return jobs[-1].id if jobs else ""


def locate_folder(place: str) -> Path:
    """Return the folder that a place names: itself, or a group's in `runs`.

    Raises:
        UserError: If there is none.
    """
    path = Path(place)
    if not path.exists() and (named := Path("runs", place)).is_dir():
        return named
    if not path.is_dir():
        raise UserError(f"no such folder: {place}; name that of a run or of a group")
    return path


def find_runs(folder: Path) -> list[Listed]:
    """Return the runs of a folder: of a run, of a group, or of groups.

    Points stand in the order of their plan, others in that in which they were made.
    """
    if (folder / "config.yaml").is_file():
        ledger = Ledger(folder.parent / _STUDY)
        points = [p for p in _list_points(ledger) if p.run.folder.resolve() == folder.resolve()]
        return [*points, Listed(Run(folder), str(folder))][:1]
    plans = _glob(folder, f"{_STUDY}/plan.json")
    points = [point for plan in plans for point in _list_points(Ledger(plan.parent))]
    planned = {point.run.folder.resolve() for point in points}
    folders = [config.parent for config in _glob(folder, "*/config.yaml")]
    others = [Listed(Run(f), str(f)) for f in folders if f.resolve() not in planned]
    return points + others


def find_studies(folder: Path) -> dict[Path, str]:
    """Return the last job of each study in a folder, by the study's own folder."""
    records = [path for at in ("", "*/", "*/*/") for path in folder.glob(f"{at}jobs.json")]
    studies = [r.parent for r in records if not (r.parent / "config.yaml").is_file()]
    return {study: jobs[-1].id for study in studies if (jobs := read_jobs(study))}


def _list_points(ledger: Ledger) -> Iterator[Listed]:
    points = ledger.read_points()
    states = ledger.read_states(points)
    for point in points:
        failed = states[point.id] == "failed"
        yield Listed(point.run, point.name, point.config, failed)


def _glob(folder: Path, pattern: str) -> list[Path]:
    """Return what lies in a group's folder, or in those of all groups, the oldest first."""
    found = {*folder.glob(pattern), *folder.glob(f"*/{pattern}")}
    return sorted(found, key=lambda path: path.stat().st_mtime)
