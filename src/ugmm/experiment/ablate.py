"""Runs the points of an ablation: worker processes that share a plan, and what they report."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from ugmm.errors import UserError, nearest
from ugmm.experiment.ablation import Ablation, Plan, Point, read_ablation
from ugmm.experiment.claims import Claims
from ugmm.experiment.search import Search
from ugmm.experiment.sweep import label, start_sweep
from ugmm.runs import write_atomic

__all__ = ["ablate"]

State = Literal["done", "failed", "running", "interrupted", "planned"]
_LOOK_SECONDS = 2.0
_TELL_SECONDS = 30.0


def ablate(
    name: str,
    jobs: int = 1,
    *,
    dry_run: bool = False,
    retry: bool = False,
    wandb: bool = False,
    point: str | None = None,
) -> None:
    """Run what is left of an ablation.

    Args:
        name: Of a file in `experiments/ablations/`, or a YAML file.
        jobs: Points at a time.
        dry_run: Only print the plan.
        retry: Run failed points again.
        wandb: Have the agents of a W&B sweep run them.
        point: Run this point only, named as in a sweep, and in this process.

    Raises:
        UserError: If the file is wrong, or if points failed.
    """
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {jobs}")
    ablation = read_ablation(name)
    plan = ablation.plan()
    if dry_run:
        _print_plan(ablation, _Board(plan.folder))
        return
    added, dropped = plan.extend(ablation)
    points = plan.points()
    if 0 < len(added) < len(points):
        sys.stdout.write(f"the file has changed: {len(added)} points are new\n")
    if dropped and not ablation.space:
        sys.stdout.write(
            f"the file has changed: {len(dropped)} planned points are no longer in it, and stay "
            f"planned; to drop them, remove {plan.path}\n"
        )
    board = _Board(plan.folder)
    if retry:
        board.forget_failures()
    if point is not None:
        _run_alone(point, points, board)
        return
    if wandb and ablation.space:
        raise UserError(f"{ablation.path}: a search is driven by Optuna: leave --wandb out")
    search = Search(ablation, plan) if ablation.space else None
    if search is not None:
        jobs = min(jobs, max(1, len(points) + search.left() * len(ablation.repetitions)))
    else:
        jobs = min(jobs, len(points))
    left = _open(points, board)
    if wandb and left:
        start_sweep(ablation, name, left, min(jobs, len(left)))
    elif left or (search and search.left()):
        _work_off(ablation, plan, board, jobs)
    points = plan.points()
    failed = [point for point in points if board.state(point) == "failed"]
    sys.stdout.write(f"{_counts(points, board)}; runs in {plan.folder.parent}\n")
    if search is not None:
        search.tell(board.summaries(points))
        sys.stdout.write(f"{search.best()}\n")
    if failed:
        lines = "".join(f"\n  {p.variant}, {p.repetition}: {board.failure(p)}" for p in failed)
        raise UserError(f"{len(failed)} points failed; run them again with --retry:{lines}")
    if left := _open(points, board):
        raise UserError(
            f"{len(left)} points are left, since a worker died: see {plan.folder / 'logs'}, and "
            "start again to go on"
        )


def _run_alone(name: str, points: list[Point], board: "_Board") -> None:
    """Run one point, as an agent of a sweep asks for it."""
    named = [point for point in points if label(point) == name]
    if not named:
        known = [label(point) for point in points]
        raise UserError(f"no point is called {name!r}; {nearest(name, known)}")
    point = named[-1]
    if not _tried(point, board, threads=None):
        sys.stdout.write(f"{name}: {board.state(point)}\n")
    if board.state(point) == "failed":
        raise UserError(f"{name}: {board.failure(point)}")


class _Board:
    """What has become of each point.

    Arguments:
        folder: Of the plan.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._failures = folder / "failures"
        self._done: set[str] = set()

    @cached_property
    def claims(self) -> Claims:
        """Made when first asked for: a dry run makes no folder."""
        return Claims(self.folder / "claims")

    def state(self, point: Point) -> State:
        """Where a point stands."""
        if point.id in self._done:
            return "done"
        run = point.run
        if run.summary.is_file():
            self._done.add(point.id)
            return "done"
        if self._file(point).is_file():
            return "failed"
        if not self.folder.is_dir():
            return "planned"
        if self.claims.is_taken(point.id):
            return "running"
        return "interrupted" if run.config.is_file() else "planned"

    def fail(self, point: Point, error: BaseException) -> None:
        """Write down why a point failed."""
        self._failures.mkdir(exist_ok=True)
        last = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else error
        write_atomic(self._file(point), f"{last}\n\n{''.join(traceback.format_exception(error))}")

    def summaries(self, points: list[Point]) -> dict[str, dict[str, float]]:
        """By their ids, the figures of the points that are done."""
        return {p.id: p.run.read_summary() for p in points if self.state(p) == "done"}

    def failure(self, point: Point) -> str:
        """The line that says why a point failed, and where the rest stands."""
        path = self._file(point)
        return f"{path.read_text(encoding='utf-8').partition(chr(10))[0]} ({path})"

    def forget_failures(self) -> None:
        """Let failed points run again."""
        for path in self._failures.glob("*.txt"):
            path.unlink(missing_ok=True)

    def _file(self, point: Point) -> Path:
        return self._failures / f"{point.id}.txt"


def _open(points: list[Point], board: _Board) -> list[Point]:
    """The points that are neither done nor failed."""
    return [point for point in points if board.state(point) not in ("done", "failed")]


def _work_off(ablation: Ablation, plan: Plan, board: _Board, jobs: int) -> None:
    """Start workers, tell how they fare, and end them if this process is ended."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    threads = max(1, (os.cpu_count() or 1) // jobs)
    workers: list[BaseProcess] = []
    with _terminating(workers):
        for _ in range(jobs):
            worker = context.Process(target=_work, args=(ablation, plan.folder, threads))
            worker.start()
            workers.append(worker)
        started, told, before = time.monotonic(), 0.0, _number_done(plan.points(), board)
        while any(worker.is_alive() for worker in workers):
            time.sleep(_LOOK_SECONDS if told else 0.2)
            if time.monotonic() - told > _TELL_SECONDS:
                told, points = time.monotonic(), plan.points()
                new = _number_done(points, board) - before
                left = (len(points) - before - new) * (told - started) / new if new else None
                more = f"; {left / 60:.0f} min left" if left else ""
                sys.stdout.write(f"{_counts(points, board)}{more}\n")
                sys.stdout.flush()


@contextmanager
def _terminating(workers: list[BaseProcess]) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the workers too, each of which closes its run."""

    def stop(signum: int, _frame: object) -> None:
        sys.exit(128 + signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            worker.join()


def _work(ablation: Ablation, folder: Path, threads: int) -> None:
    """Run points, one after the other, until all are done: the whole life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends its workers
    _die_with_parent()
    board = _Board(folder)
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    log = os.open(logs / f"worker-{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    plan = Plan(folder)
    search = Search(ablation, plan) if ablation.space else None
    while True:
        points = plan.points()
        if search is not None:
            search.tell(board.summaries(points))
        left = _open(points, board)
        if any(_tried(point, board, threads) for point in left):
            continue
        if search is not None and search.ask():
            continue
        if not left:
            return
        time.sleep(_LOOK_SECONDS)  # what another worker has may fall to this one, should that die


def _tried(point: Point, board: _Board, threads: int | None) -> bool:
    """Run a point if nobody else does; return whether it was run."""

    def lost() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with board.claims.holding(point.id, lost) as held:
        # Between the look and the claim, another worker may have done it.
        run = held and board.state(point) not in ("done", "failed")
        if run:
            _run(point, board, threads)
    return run


def _run(point: Point, board: _Board, threads: int | None) -> None:
    import ugmm._torchvision  # noqa: F401  (before lightning)

    import torch

    from ugmm.experiment.run import start_or_resume

    if threads is not None:
        torch.set_num_threads(threads)  # the point before may have set its own

    sys.stdout.write(f"== {point.id}: {point.variant}, {point.repetition}\n")
    sys.stdout.flush()
    try:
        start_or_resume(point.resolved(), point.id)
    except Exception as error:  # whatever it is, the other points go on
        traceback.print_exc()
        board.fail(point, error)


def _die_with_parent() -> None:
    """End this process when its parent has been killed, lest it works on unseen."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _number_done(points: list[Point], board: _Board) -> int:
    return sum(board.state(point) == "done" for point in points)


def _counts(points: list[Point], board: _Board) -> str:
    counts = Counter(board.state(point) for point in points)
    return ", ".join(f"{counts[state]} {state}" for state in counts)


def _print_plan(ablation: Ablation, board: _Board) -> None:
    from rich.console import Console
    from rich.table import Table

    points = Plan(board.folder).points() if ablation.space else ablation.points
    table = Table(title=f"{ablation.title}: {len(points)} points", title_justify="left")
    for heading in ("variant", "repetition", "id", "state"):
        table.add_column(heading)
    for point in points:
        table.add_row(point.variant, point.repetition, point.id, board.state(point))
    Console().print(table)
    if ablation.space:
        asked = len({point.variant for point in points})
        sys.stdout.write(f"{ablation.settings.trials - asked} more trials, within:\n")
        for name, of in ablation.space.items():
            sys.stdout.write(f"  {name}: {of}\n")
