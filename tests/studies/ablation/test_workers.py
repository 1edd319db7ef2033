"""Workers of an ablation: what the terminal says of those that die."""

import errno
import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from ugmm.cli import main
from ugmm.errors import UserError
from ugmm.studies.ablation import command, workers
from ugmm.studies.ablation.progress import Progress
from ugmm.studies.ablation.workers import run_if_free
from ugmm.writing import WriteError

TEXT = (
    "experiment: iris_disc\nseeds: [0, 1]\nvariants:\n  plain: {}\n  wide: {model.hidden: [20]}\n"
)


def test_a_worker_that_cannot_import_says_so_and_what_is_left(ablation, project):
    found = ablation(TEXT)
    ledger = found.open_ledger()
    ledger.extend(found.points)
    broken = project / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libcudart.so.12: cannot open')")
    path = os.pathsep.join([str(broken.parent), *sys.path])
    command = [sys.executable, "-m", "ugmm", "ablate", "mine.yaml"]
    with ExitStack() as stack:
        for point in ledger.read_points()[:2]:
            assert stack.enter_context(ledger.claims.holding(point.id, print))
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "died: ImportError: libcudart.so.12: cannot open" in done.stdout
    assert done.stderr == (
        "ugmm: error: 4 points: 2 left, 2 running elsewhere; a worker died (ImportError: "
        "libcudart.so.12: cannot open), see runs/mine/ablation/logs; start again to go on\n"
    )
    assert len(ledger.find_unfinished(found.points)) == 4  # none has failed for that


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_fails_no_point(ablation, monkeypatch, number):
    found = ablation(TEXT)
    ledger = found.open_ledger()
    ledger.extend(found.points)
    point = found.points[0]

    def fail(*_):
        raise WriteError("last.ckpt", OSError(number, "what the system says"), "resume it")

    monkeypatch.setattr("ugmm.training.run.start_or_resume", fail)
    with pytest.raises(UserError, match=r"cannot write last.ckpt: .* and start again to go on"):
        run_if_free(point, ledger, None)
    assert ledger.read_state(point) == "planned"


def test_a_worker_that_does_not_wait_leaves_others_to_their_points(ablation, monkeypatch):
    """It stays for as long as the point of one that has just died would still count as taken."""
    found = ablation(TEXT)
    ledger = found.open_ledger()
    ledger.extend(found.points)
    monkeypatch.setattr(workers, "_log_to", lambda _: None)
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(workers, "STALE", 0.2)
    run = []

    def run_first(point, ledger, _threads):
        ledger.write_failure(point, UserError("so it counts as run"))
        run.append(point.id)
        return True

    monkeypatch.setattr(workers, "_run", run_first)
    first, *others = ledger.read_points()
    with ExitStack() as stack:
        for point in others:
            assert stack.enter_context(ledger.claims.holding(point.id, print))
        started = time.monotonic()
        workers._work(found, ledger, 1, False)
        assert time.monotonic() - started > 0.2
    assert run == [first.id]


def test_the_command_then_ends_well(ablation, monkeypatch, capsys):
    found = ablation(TEXT)
    ledger = found.open_ledger()
    ledger.extend(found.points)
    monkeypatch.setattr(command, "run_workers", lambda *_, **__: [])
    with ExitStack() as stack:
        for point in ledger.read_points():
            assert stack.enter_context(ledger.claims.holding(point.id, print))
        assert main(["ablate", "mine.yaml", "--no-wait"]) == 0
        assert capsys.readouterr().out.endswith("4 running elsewhere\n")
        assert main(["ablate", "mine.yaml"]) == 1
    assert capsys.readouterr().err.endswith("4 running elsewhere; start again to go on\n")


def test_what_one_worker_cannot_mend_ends_the_others(ablation, monkeypatch):
    found = ablation(TEXT)
    ledger = found.open_ledger()
    monkeypatch.setattr(workers, "_work", meet_an_obstacle)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"^the disk is full$"):
        workers.run_workers(found, ledger, 2, Progress(ledger))
    assert time.monotonic() - started < 200  # where nobody ends them, they sleep for 300


def meet_an_obstacle(_ablation, ledger, *_):
    ledger.folder.mkdir(parents=True, exist_ok=True)
    try:
        (ledger.folder / "first").touch(exist_ok=False)
    except FileExistsError:
        time.sleep(300)
    raise UserError("the disk is full")
