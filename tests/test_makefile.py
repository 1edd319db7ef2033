"""The Makefile, with which the README begins, asks for what it needs."""

import subprocess
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("target", "asks"),
    [
        ("eval", "make eval RUN="),
        ("predict DATA=a.csv", "make predict RUN="),
        ("predict RUN=runs/a", "DATA=table.csv"),
        ("train DATA=a.csv", "DATA= is read by"),
        ("report", "make report RUN="),
        ("export TO=onnx", "make export RUN="),
        ("export RUN=runs/a", "TO=onnx, pt2 or safetensors"),
        ("train TO=onnx", "TO= is read by"),
        ("ablate", "make ablate EXP="),
        ("compare", "make compare EXP="),
        ("crossval", "make crossval EXP="),
        ("dashboard", "make dashboard EXP="),
        ("eval RUN=runs/a", None),
        ("eval RUN=runs/a DATA=a.csv", None),
        ("predict RUN=runs/a DATA=a.csv", None),
        ("report RUN=runs/a", None),
        ("export RUN=runs/a TO=onnx", None),
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
