"""The command `ugmm ablate`: plan the points of an ablation, run what is left, report the end."""

import sys
from collections.abc import Collection, Sequence

from ugmm.config.choices.plugins import plugin_options
from ugmm.errors import UserError, nearest
from ugmm.report.escaping import for_rich, for_terminal
from ugmm.report.tables import format_count
from ugmm.studies.ablation.definition import Ablation, read_ablation
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import Point
from ugmm.studies.ablation.progress import Progress, describe_left
from ugmm.studies.ablation.search import Search
from ugmm.studies.ablation.workers import run_if_free, run_workers
from ugmm.tracking.sweep import run_sweep

__all__ = ["plan_ablation", "run_ablation"]


def run_ablation(
    name: str,
    jobs: int = 1,
    *,
    dry_run: bool = False,
    retry: bool = False,
    wandb: bool = False,
    point: str | None = None,
    wait: bool = True,
) -> None:
    """Run what is left of an ablation.

    Args:
        name: Of a file in `experiments/ablations/`, or a YAML file.
        jobs: Points at a time.
        dry_run: Only print the plan.
        retry: Run failed points again.
        wandb: Have the agents of a W&B sweep run them.
        point: Run this point only, named as in a sweep, and in this process.
        wait: Stay until the points that others run are done, too: they may die.

    Raises:
        UserError: If the file is wrong, or if points failed.
    """
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {jobs}")
    ablation = read_ablation(name)
    _ = ablation.goal  # an error now, and not when everything has been run
    ledger = ablation.open_ledger()
    if dry_run:
        _print_plan(ablation, ledger)
        return
    _extend_plan(ablation, ledger)
    points = ledger.read_points()
    if retry:
        ledger.forget_failures()
    if point is not None:
        _run_alone(point, points, ledger)
        return
    if wandb and ablation.space:
        raise UserError(f"{ablation.path}: a search is driven by Optuna: leave --wandb out")
    search = Search(ablation, ledger) if ablation.space else None
    to_ask = search.count_points_left() if search is not None else 0
    unfinished = ledger.find_unfinished(points)
    deaths, told = [], set()
    if wandb and unfinished:
        _run_sweep(ablation, name, unfinished, min(jobs, len(unfinished)))
    elif unfinished or to_ask:
        progress = Progress(ledger, total=len(points) + to_ask)
        progress.open()
        workers = min(jobs, len(unfinished) + to_ask)
        deaths = run_workers(ablation, ledger, workers, progress, wait=wait)
        told = progress.told
    _report_end(name, ledger, search, deaths, told, wait=wait)


def plan_ablation(name: str, *, dry_run: bool = False) -> tuple[Ledger, int]:
    """Plan what an ablation's file asks for; return where it stands, and how many points are left.

    Args:
        name: See `run_ablation`.
        dry_run: Only count.

    Raises:
        UserError: If the file is wrong.
    """
    ablation = read_ablation(name)
    _ = ablation.goal
    ledger = ablation.open_ledger()
    if not dry_run:
        _extend_plan(ablation, ledger)
    points = ledger.read_points() if ablation.space else ledger.match(ablation.points)
    states = ledger.read_states(points)
    left = sum(state in ("planned", "interrupted") for state in states.values())
    trials = ablation.settings.trials - len({point.variant for point in points})
    return ledger, left + bool(ablation.space) * max(0, trials) * len(ablation.repetitions)


def _extend_plan(ablation: Ablation, ledger: Ledger) -> None:
    """Plan what the file asks for, and say what has changed since it was planned last."""
    added, dropped = ledger.extend(ablation.points)
    if 0 < len(added) < len(ledger.read_points()):
        sys.stdout.write(f"the file has changed: {format_count(len(added), 'new point')}\n")
    if dropped and not ablation.space:
        sys.stdout.write(
            f"the file has changed: the plan keeps {format_count(len(dropped), 'point')} that it "
            f"no longer has; to drop what is not in it, remove {ledger.path}\n"
        )


def _run_alone(name: str, points: Sequence[Point], ledger: Ledger) -> None:
    """Run one point, as an agent of a sweep asks for it."""
    named = [point for point in points if point.name == name]
    if not named:
        known = [point.name for point in points]
        raise UserError(f"no point is called {name!r}; {nearest(name, known)}")
    point = named[-1]
    if not run_if_free(point, ledger, threads=None):
        sys.stdout.write(f"{for_terminal(name)}: {ledger.read_state(point)}\n")
    if ledger.read_state(point) == "failed":
        raise UserError(f"{name}: {ledger.describe_failure(point)}")


def _run_sweep(ablation: Ablation, name: str, points: Sequence[Point], jobs: int) -> None:
    """Have agents of a W&B sweep run points, each by a command of its own."""
    tracking = points[0].resolve().tracking
    run_sweep(
        ablation.title,
        [point.name for point in points],
        # Of machines that join, too: the files are where the folder of the runs is.
        ["ablate", name, *plugin_options()],
        ablation.settings.metric,
        ablation.goal,
        entity=tracking.entity,
        project=tracking.project,
        jobs=jobs,
    )


def _report_end(
    name: str,
    ledger: Ledger,
    search: Search | None,
    deaths: Sequence[str],
    told: Collection[str],
    *,
    wait: bool,
) -> None:
    """Say what has become of all points, and complain if that is not all that was wanted.

    Args:
        name: How the ablation was named.
        ledger: Its points.
        search: If it searches.
        deaths: Why workers died.
        told: The ids of points whose failure has been told already.
        wait: Whether those that others run were waited for.
    """
    points = ledger.read_points()
    states = ledger.read_states(points)
    sys.stdout.write(f"{ledger.describe(points)}; runs in {ledger.folder.parent}\n")
    if search is not None:
        search.tell(ledger.read_summaries(points))
        sys.stdout.write(f"{for_terminal(search.describe_best())}\n")
    if failed := [point for point in points if states[point.id] == "failed"]:
        for p in (point for point in failed if point.id not in told):
            line = f"{p.variant}, {p.repetition}: {ledger.describe_failure(p)}"
            sys.stdout.write(f"{for_terminal(line)}\n")
        raise UserError(f"{format_count(len(failed), 'point')} failed; try again with --retry")
    total = len(points) + (search.count_points_left() if search is not None else 0)
    rest = describe_left(states, total)
    if rest and not wait and not deaths:
        sys.stdout.write(f"{rest}\n")
        return
    if rest:
        logs = f"a worker died ({deaths[-1]}), see {ledger.folder / 'logs'}; " if deaths else ""
        counted = format_count(total, "point")
        raise UserError(f"{counted}: {rest}; {logs}start again to go on")
    sys.stdout.write(f"compare the variants with: ugmm compare {name}\n")


def _print_plan(ablation: Ablation, ledger: Ledger) -> None:
    from rich.console import Console
    from rich.table import Table

    points = ledger.read_points() if ablation.space else ledger.match(ablation.points)
    title = f"{ablation.title}: {format_count(len(points), 'point')}"
    table = Table(title=for_rich(title, "table.title"), title_justify="left")
    for heading in ("variant", "repetition", "id", "state"):
        table.add_column(heading)
    for point in points:
        cells = (point.variant, point.repetition, point.id, ledger.read_state(point))
        table.add_row(*map(for_rich, cells))
    Console().print(table)
    if ablation.space:
        asked = len({point.variant for point in points})
        left = format_count(ablation.settings.trials - asked, "more trial")
        sys.stdout.write(f"{left}, within:\n")
        for key, entry in ablation.space.items():
            sys.stdout.write(f"  {for_terminal(f'{key}: {entry}')}\n")
