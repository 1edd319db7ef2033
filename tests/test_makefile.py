"""The Makefile, with which the README begins, asks for what it needs."""

import subprocess
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("target", "asks"),
    [
        ("eval", "make eval RUN="),
        ("report", "make report RUN="),
        ("ablate", "make ablate EXP="),
        ("compare", "make compare EXP="),
        ("crossval", "make crossval EXP="),
        ("dashboard", "make dashboard EXP="),
        ("eval RUN=runs/a", None),
        ("report RUN=runs/a", None),
        ("ablate EXP=mnist_norm", None),
        ("train", None),
        ("launch CLUSTER=slurm", None),
    ],
)
def test_make_asks_for_what_it_needs_before_it_installs(target, asks):
    command = ["make", "--dry-run", *target.split()]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=False)
    if asks is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert asks in done.stderr
