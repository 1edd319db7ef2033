"""The processes that run an ablation's points: each takes what nobody else has, until all is done.

Torch is imported by the processes that run something.
"""

import os
import signal
import time
import traceback
from collections.abc import Sequence

from ugmm._lean import starting
from ugmm.cluster.cpus import count_cpus
from ugmm.cluster.lock import RunInUseError
from ugmm.report.escaping import for_terminal
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import Point
from ugmm.studies.ablation.progress import Progress
from ugmm.studies.ablation.searching.search import Search
from ugmm.studies.ablation.searching.trials import Ended
from ugmm.studies.claims import STALE
from ugmm.studies.obstacles import find_obstacle
from ugmm.studies.processes import Worker, terminating
from ugmm.terminal import guard_streams, say
from ugmm.writing import explaining, make_folder

__all__ = ["run_if_free", "run_workers"]

_LOOK_SECONDS = 2.0


def run_workers(
    ablation: Ablation, ledger: Ledger, jobs: int, progress: Progress, *, wait: bool = True
) -> list[str]:
    """Start workers, say how they fare, and end them if this process is ended.

    Args:
        ablation: What they work on.
        ledger: Its points; more are added while it is searched.
        jobs: How many workers.
        progress: Says what becomes of the points.
        wait: Whether workers stay until the points that others run are done, too.

    Returns:
        why workers ended before all was done, a line for each that did.

    Raises:
        UserError: If no process can be started, or a worker met something the user can mend: then
            the others are ended too.
    """
    threads = max(1, count_cpus() // jobs)
    workers: list[Worker] = []
    deaths: dict[Worker, str] = {}
    with terminating(workers):
        workers.extend(Worker(_work, ablation, ledger, threads, wait) for _ in range(jobs))
        while any(worker.process.is_alive() for worker in workers):
            time.sleep(_LOOK_SECONDS)
            _tell_deaths(workers, deaths)
            progress.look()
        _tell_deaths(workers, deaths)
        progress.look()
    return list(deaths.values())


def _tell_deaths(workers: Sequence[Worker], deaths: dict[Worker, str]) -> None:
    """Say of workers that have died why they did, as soon as they have."""
    for worker in workers:
        if worker not in deaths and (reason := worker.describe_death()) is not None:
            deaths[worker] = reason
            say(for_terminal(f"a worker (process {worker.process.pid}) died: {reason}"))


def run_if_free(point: Point, ledger: Ledger, threads: int | None) -> bool:
    """Run a point in this process if nobody else does; return whether it was run.

    Args:
        point: What to run; why it failed, if it does, is written into the ledger.
        ledger: Holds the claims.
        threads: Of torch; None leaves them as they are.
    """

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with ledger.claims.holding(point.id, stop) as held:
        # Between the look and the claim, another worker may have done it.
        run = held and ledger.read_state(point) not in ("done", "failed")
        return run and _run(point, ledger, threads)


def _work(ablation: Ablation, ledger: Ledger, threads: int, wait: bool) -> None:
    """Run points, one after the other, until all are done: the whole life of a worker.

    One that does not wait for others still does for a while: a point of which the owner has just
    died, perhaps with this very job before it was requeued, counts as taken for a minute.
    """
    _log_to(ledger)
    guard_streams()
    search = Search(ablation, ledger) if ablation.space else None
    idle_since = time.monotonic()
    while True:
        points = ledger.read_points()
        unfinished = ledger.find_unfinished(points)
        if any(run_if_free(point, ledger, threads) for point in unfinished):
            idle_since = time.monotonic()
            continue
        if search is not None and search.ask(Ended.read(ledger)):
            continue
        if not unfinished or (not wait and time.monotonic() - idle_since > 1.5 * STALE):
            return
        time.sleep(_LOOK_SECONDS)  # what another worker has may fall to this one, should that die


def _log_to(ledger: Ledger) -> None:
    """Write what this process prints into a file of its own."""
    logs = ledger.folder / "logs"
    make_folder(logs)
    path = logs / f"worker-{os.getpid()}.txt"
    with explaining(path):
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _run(point: Point, ledger: Ledger, threads: int | None) -> bool:
    """Run a point; return whether it could be had."""
    with starting(told=False):
        import torch

        from ugmm.training.run import start_or_resume

    if threads is not None:
        torch.set_num_threads(threads)  # the point before may have set its own

    say(f"== {point.id}: {for_terminal(point.name)}")
    try:
        start_or_resume(point.resolve(), point.id)
    except RunInUseError as error:  # by a command, or by an owner that was silent for too long
        say(for_terminal(str(error)))
        return False
    except Exception as error:
        traceback.print_exc()
        if (obstacle := find_obstacle(error)) is not None:
            raise obstacle from error
        ledger.write_failure(point, error)  # and the other points go on
    return True
