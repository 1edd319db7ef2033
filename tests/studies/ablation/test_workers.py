"""Workers of an ablation: what the terminal says of those that die."""

import errno
import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from ugmm.errors import UserError
from ugmm.studies.ablation import workers
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


def test_what_one_worker_cannot_mend_ends_the_others(ablation, monkeypatch):
    found = ablation(TEXT)
    ledger = found.open_ledger()
    monkeypatch.setattr(workers, "_work", meet_an_obstacle)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"^the disk is full$"):
        workers.run_workers(found, ledger, 2, Progress(ledger))
    assert time.monotonic() - started < 200  # where nobody ends them, they sleep for 300


def meet_an_obstacle(_ablation, ledger, _threads):
    ledger.folder.mkdir(parents=True, exist_ok=True)
    try:
        (ledger.folder / "first").touch(exist_ok=False)
    except FileExistsError:
        time.sleep(300)
    raise UserError("the disk is full")
