"""The command `ugmm ablate`: plan the points of an ablation, run what is left, report the end."""

import sys
from collections.abc import Collection, Mapping, Sequence

from ugmm.config.choices.plugins import plugin_options
from ugmm.errors import UserError, nearest
from ugmm.report.escaping import for_rich, for_terminal
from ugmm.report.tables import format_count
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.file import read_ablation
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import Point
from ugmm.studies.ablation.progress import Progress, describe_left
from ugmm.studies.ablation.searching.search import Search, settle
from ugmm.studies.ablation.searching.trials import Ended
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
    if dry_run:
        for search in ablation.searches.values():
            _print_plan(search)
        _print_plan(ablation)
        return
    if wandb and (ablation.space or ablation.families):
        raise UserError(f"{ablation.path}: a search is driven by Optuna: leave --wandb out")
    # Twice: what others were at may be over when the rest is; else nobody would see all done.
    left = _tune(ablation.searches, name, jobs, retry=retry, wait=wait)
    if _tune(left, name, jobs, retry=False, wait=wait):
        return
    ablation, chosen = settle(ablation)
    sys.stdout.writelines(f"{for_terminal(line)}\n" for line in chosen)
    if point is not None:
        _run_alone(ablation, point, retry=retry)
    else:
        _work_off(ablation, name, jobs, retry=retry, wait=wait, wandb=wandb)


def _tune(
    searches: Mapping[str, Ablation], name: str, jobs: int, *, retry: bool, wait: bool
) -> dict[str, Ablation]:
    """Work off searches of families one after the other; return those that others are still at."""
    left = {}
    for family, search in searches.items():
        sys.stdout.write(f"tuning {for_terminal(family)}\n")
        if not _work_off(search, name, jobs, retry=retry, wait=wait, tunes=True):
            left[family] = search
    return left


def _work_off(
    ablation: Ablation,
    name: str,
    jobs: int,
    *,
    retry: bool,
    wait: bool,
    wandb: bool = False,
    tunes: bool = False,
) -> bool:
    """Plan and run what is left of an ablation, and report the end; return whether all is done.

    Args:
        ablation: Without families.
        name: How it was named, or the one whose family this is the search of.
        jobs: See `run_ablation`, as for the others.
        retry: Run failed points again.
        wait: Stay until the points that others run are done.
        wandb: Have the agents of a sweep run them.
        tunes: Whether it is the search of a family: then a trial may fail.
    """
    ledger = ablation.open_ledger()
    _extend_plan(ablation, ledger)
    points = ledger.read_points()
    if retry:
        ledger.forget_failures()
    search = Search(ablation, ledger) if ablation.space else None
    to_ask = _count_to_ask(ablation, search, Ended.read(ledger))
    unfinished = ledger.find_unfinished(points)
    deaths, told = [], set()
    if wandb and unfinished:
        _run_sweep(ablation, name, unfinished, min(jobs, len(unfinished)))
    elif unfinished or to_ask:
        open_end = bool(search) and ablation.settings.seconds is not None
        progress = Progress(ledger, total=None if open_end else len(points) + to_ask)
        progress.open()
        workers = jobs if open_end else min(jobs, len(unfinished) + to_ask)
        deaths = run_workers(ablation, ledger, workers, progress, wait=wait)
        told = progress.told
    states = ledger.read_states(points := ledger.read_points())
    ended = Ended.read(ledger)
    sys.stdout.write(f"{ledger.describe(points)}; runs in {ledger.folder.parent}\n")
    if search is not None:
        sys.stdout.write(f"{for_terminal(search.describe_best(ended))}\n")
    _report_failures([p for p in points if states[p.id] == "failed"], ledger, told, stop=not tunes)
    total = len(points) + _count_to_ask(ablation, search, ended)
    if rest := describe_left(states, total):
        if not wait and not deaths:
            sys.stdout.write(f"{rest}\n")
            return False
        logs = f"a worker died ({deaths[-1]}), see {ledger.folder / 'logs'}; " if deaths else ""
        counted = format_count(total, "point")
        raise UserError(f"{counted}: {rest}; {logs}start again to go on")
    if not tunes:
        sys.stdout.write(f"compare the variants with: ugmm compare {name}\n")
    return True


def _count_to_ask(ablation: Ablation, search: Search | None, ended: Ended) -> int:
    """Return how many points are still to be planned; of a budget of seconds, whether any is."""
    if search is None:
        return 0
    return search.count_left(ended) * len(ablation.repetitions)


def _report_failures(
    failed: Sequence[Point], ledger: Ledger, told: Collection[str], *, stop: bool
) -> None:
    """Say why points failed that have not been told; complain if that stops the study."""
    for p in (point for point in failed if point.id not in told):
        line = f"{p.variant}, {p.repetition}: {ledger.describe_failure(p)}"
        sys.stdout.write(f"{for_terminal(line)}\n")
    if failed and stop:
        raise UserError(f"{format_count(len(failed), 'point')} failed; try again with --retry")


def plan_ablation(name: str, *, dry_run: bool = False) -> tuple[Ledger, int]:
    """Plan what an ablation's file asks for; return where it stands, and how many points are left.

    Of a budget of seconds that is not spent, one point is counted for each seed.

    Args:
        name: See `run_ablation`.
        dry_run: Only count.

    Raises:
        UserError: If the file is wrong.
    """
    ablation = read_ablation(name)
    _ = ablation.goal
    home, left = ablation.open_ledger(), 0
    for part in [*ablation.searches.values()] or [ablation]:
        ledger = part.open_ledger()
        if not dry_run:
            _extend_plan(part, ledger)
        points = ledger.read_points() if part.space else ledger.match(part.points)
        states = ledger.read_states(points)
        left += sum(state in ("planned", "interrupted") for state in states.values())
        if part.space:
            left += _count_to_ask(part, Search(part, ledger), Ended.read(ledger))
    if ablation.families and left:
        left += len(ablation.families) * len(ablation.repetitions)
    elif ablation.families:
        settled, _ = settle(ablation)
        left = len(home.find_unfinished(home.match(settled.points)))
    return home, left


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


def _run_alone(ablation: Ablation, name: str, *, retry: bool) -> None:
    """Run one point, as an agent of a sweep asks for it."""
    ledger = ablation.open_ledger()
    _extend_plan(ablation, ledger)
    if retry:
        ledger.forget_failures()
    points = ledger.read_points()
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


def _print_plan(ablation: Ablation) -> None:
    from rich.console import Console
    from rich.table import Table

    ledger = ablation.open_ledger()
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
        settings = ablation.settings
        asked = len({point.variant for point in points})
        left = format_count(settings.most_trials - asked, "more trial")
        if settings.seconds is not None:
            left = f"as many trials as {settings.seconds:g} s of training allow"
        sys.stdout.write(f"{left}, within:\n")
        for key, entry in ablation.space.items():
            sys.stdout.write(f"  {for_terminal(f'{key}: {entry}')}\n")
