"""Workers of an ablation: what the terminal says of those that die."""

import os
import subprocess
import sys
from contextlib import ExitStack

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
    environment = {**os.environ, "PYTHONPATH": path}
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
        "ugmm: error: 4 points: 2 left, 2 run elsewhere; a worker died (ImportError: "
        "libcudart.so.12: cannot open), see runs/mine/ablation/logs; start again to go on\n"
    )
    assert len(ledger.find_unfinished(found.points)) == 4  # none has failed for that
