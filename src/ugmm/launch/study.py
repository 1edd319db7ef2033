"""Launching a study as an array of jobs, each of which takes what is free of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ugmm.config.choices.plugins import plugin_options
from ugmm.config.cluster import ClusterConfig, SlurmConfig
from ugmm.errors import UserError
from ugmm.launch.jobs import SCRIPT, add_job
from ugmm.launch.script import Job, write_slurm
from ugmm.launch.slurm import submit
from ugmm.report.escaping import for_terminal
from ugmm.report.tables import format_count
from ugmm.studies.ablation import plan_ablation
from ugmm.studies.crossval import read_crossvalidation
from ugmm.terminal import answer, say
from ugmm.writing import make_folder, write_atomic

__all__ = ["launch_study"]


@dataclass(frozen=True)
class _Study:
    """What is to be run of a study.

    Attributes:
        folder: Where its job's script and record go.
        command: What each task runs.
        tasks: How many tasks the array has.
        what: What they do, in words.
    """

    folder: Path
    command: list[str]
    tasks: int
    what: str


def launch_study(
    kind: str, name: str, cluster: ClusterConfig, settings: Sequence[str], *, dry_run: bool
) -> None:
    """Give an ablation or a cross-validation to Slurm.

    Args:
        kind: `ablate` or `crossval`.
        name: Of its file.
        cluster: Where it runs.
        settings: Anything that was said beside the cluster's keys.
        dry_run: Only print the script.

    Raises:
        UserError: If it cannot be given, or nothing is left of it.
    """
    if settings:
        raise UserError(f"{settings[0]}: what a study sets stands in its file; leave it out")
    if not isinstance(cluster, SlurmConfig):
        raise UserError(
            f"cluster={cluster.name} starts one run; a study is shared by all machines on which "
            f"you start, in one folder: ugmm {kind} {name}"
        )
    if cluster.nodes > 1:
        raise UserError(
            f"cluster.nodes={cluster.nodes}: each task of a study has one node; leave it out"
        )
    plan = _plan_ablation if kind == "ablate" else _plan_crossval
    study = plan(name, cluster, dry_run=dry_run)
    job = Job(
        name=f"{kind}-{Path(name).stem}",
        command=[*study.command, *plugin_options()],
        logs=Path.cwd() / study.folder / "logs",
        cpus=cluster.cpus and cluster.cpus * cluster.tasks,
        array=study.tasks,
    )
    text = write_slurm(cluster, job, Path.cwd())
    if dry_run:
        answer(text)
        return
    make_folder(job.logs)
    script = study.folder / SCRIPT
    write_atomic(script, text)
    submitted = submit(script)
    add_job(study.folder, submitted)
    shown = for_terminal(str(study.folder.parent))
    say(f"job {submitted}: {study.what}; output in {for_terminal(str(job.logs))}")
    say(f"follow it with: ugmm status --watch {shown}; end it with: ugmm cancel {shown}")


def _plan_ablation(name: str, cluster: SlurmConfig, *, dry_run: bool) -> _Study:
    """Let each task run points until none is free, whoever dies: see `ugmm.studies.claims`."""
    ledger, left = plan_ablation(name, dry_run=dry_run)
    if not left:
        raise UserError(f"no point of {name} is left to run; see: ugmm ablate {name} --dry-run")
    tasks = min(left, cluster.array_size)
    return _Study(
        folder=ledger.folder,
        command=["ablate", name, f"--jobs={cluster.tasks}", "--no-wait"],
        tasks=tasks,
        what=f"{format_count(left, 'point')} for {format_count(tasks, 'task')}",
    )


def _plan_crossval(name: str, cluster: SlurmConfig, *, dry_run: bool) -> _Study:  # noqa: ARG001
    """Let each task do outer folds until none is free; the last shows the table."""
    folds = len(read_crossvalidation(name).settings.places())
    tasks = min(folds, cluster.array_size)
    return _Study(
        folder=Path("runs", "crossval", Path(name).stem),
        command=["crossval", name, f"--jobs={cluster.tasks}", "--shared"],
        tasks=tasks,
        what=f"{format_count(folds, 'outer fold')} for {format_count(tasks, 'task')}",
    )
