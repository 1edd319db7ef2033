"""Runs the points of an ablation: worker processes that share a plan, and what they report."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from ugmm.errors import UserError, nearest
from ugmm.studies.ablation.definition import Ablation, Plan, Point, read_ablation
from ugmm.studies.ablation.ledger import Board
from ugmm.studies.ablation.search import Search
from ugmm.tracking.sweep import label, start_sweep

__all__ = ["ablate"]

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
        _print_plan(ablation, Board(plan.folder))
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
    board = Board(plan.folder)
    if retry:
        board.forget_failures()
    if point is not None:
        _run_alone(point, points, board)
        return
    if wandb and ablation.space:
        raise UserError(f"{ablation.path}: a search is driven by Optuna: leave --wandb out")
    search = Search(ablation, plan) if ablation.space else None
    to_ask = search.left() * len(ablation.repetitions) if search else 0
    left = board.open(points)
    if wandb and left:
        start_sweep(ablation, name, left, min(jobs, len(left)))
    elif left or to_ask:
        _work_off(ablation, plan, board, min(jobs, len(left) + to_ask))
    _tell_end(name, plan, board, search)


def _tell_end(name: str, plan: Plan, board: Board, search: Search | None) -> None:
    """Say what has become of all points, and complain if that is not all that was wanted."""
    points = plan.points()
    failed = [point for point in points if board.state(point) == "failed"]
    sys.stdout.write(f"{board.counts(points)}; runs in {plan.folder.parent}\n")
    if search is not None:
        search.tell(board.summaries(points))
        sys.stdout.write(f"{search.best()}\n")
    if failed:
        lines = "".join(f"\n  {p.variant}, {p.repetition}: {board.failure(p)}" for p in failed)
        raise UserError(f"{len(failed)} points failed; run them again with --retry:{lines}")
    if left := board.open(points):
        raise UserError(
            f"{len(left)} points are left, since a worker died: see {plan.folder / 'logs'}, and "
            "start again to go on"
        )
    sys.stdout.write(f"compare the variants with: ugmm compare {name}\n")


def _run_alone(name: str, points: list[Point], board: Board) -> None:
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


def _work_off(ablation: Ablation, plan: Plan, board: Board, jobs: int) -> None:
    """Start workers, tell how they fare, and end them if this process is ended."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    threads = max(1, (os.cpu_count() or 1) // jobs)
    workers: list[BaseProcess] = []
    with _terminating(workers):
        for _ in range(jobs):
            worker = context.Process(target=_work, args=(ablation, plan.folder, threads))
            worker.start()
            workers.append(worker)
        started, told, before = time.monotonic(), 0.0, board.number_done(plan.points())
        while any(worker.is_alive() for worker in workers):
            time.sleep(_LOOK_SECONDS if told else 0.2)
            if time.monotonic() - told > _TELL_SECONDS:
                told, points = time.monotonic(), plan.points()
                new = board.number_done(points) - before
                left = (len(points) - before - new) * (told - started) / new if new else None
                more = f"; {left / 60:.0f} min left" if left else ""
                sys.stdout.write(f"{board.counts(points)}{more}\n")
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
    board = Board(folder)
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
        left = board.open(points)
        if any(_tried(point, board, threads) for point in left):
            continue
        if search is not None and search.ask():
            continue
        if not left:
            return
        time.sleep(_LOOK_SECONDS)  # what another worker has may fall to this one, should that die


def _tried(point: Point, board: Board, threads: int | None) -> bool:
    """Run a point if nobody else does; return whether it was run."""

    def lost() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with board.claims.holding(point.id, lost) as held:
        # Between the look and the claim, another worker may have done it.
        run = held and board.state(point) not in ("done", "failed")
        if run:
            _run(point, board, threads)
    return run


def _run(point: Point, board: Board, threads: int | None) -> None:
    import ugmm._torchvision  # noqa: F401  (before lightning)

    import torch

    from ugmm.training.run import start_or_resume

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


def _print_plan(ablation: Ablation, board: Board) -> None:
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
