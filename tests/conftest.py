"""What all tests share."""

import os

# Before torch starts: one thread in each process, since pytest runs a worker on each core. Tests
# of threads set a number of their own.
os.environ["OMP_NUM_THREADS"] = "1"
# Tests must not reach for an account or leave anything in the home folder.
os.environ.setdefault("WANDB_MODE", "disabled")

import functools
import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path

import ugmm._torchvision  # noqa: F401  (before any test imports lightning)

import pytest

from ugmm.cli import main
from ugmm.runs import Run

QUICK = ("trainer.accelerator=cpu", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2")


@pytest.fixture
def inspect():
    """Read a run's latest offline W&B record back with W&B's own reader."""

    def inspect(run, *, records=False):
        record = max(run.folder.glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime)
        program = str(Path(sys.executable).with_name("wandb"))
        how = ["--json"] if records else ["--json", "--summary"]
        command = [program, "leet", "inspect", *how, str(record)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in text.splitlines()] if records else json.loads(text)

    return inspect


def leave_out_pictures(patch):
    """Let runs of this process draw nothing: pictures take four fifths of a short run's time."""
    patch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])


@pytest.fixture
def train_and_draw(tmp_path, capfd):
    """Train in this process, in a folder of the test's own; returns the run, or the error."""

    def train(experiment, *overrides):
        before = set((tmp_path / "runs").glob("*/*"))
        code = main(["train", experiment, f"runs_dir={tmp_path}/runs", *QUICK, *overrides])
        output = capfd.readouterr()
        if code:
            return output.err
        (folder,) = set((tmp_path / "runs").glob("*/*")) - before
        assert str(folder) in output.out
        return Run.open(folder)

    return train


@pytest.fixture
def train(train_and_draw, monkeypatch):
    """The same, less the pictures."""
    leave_out_pictures(monkeypatch)
    return train_and_draw


@pytest.fixture(scope="session")
def train_once(tmp_path_factory):
    """Train, unless this session has trained with these settings already; draws no pictures."""

    @functools.cache
    def train_once(experiment, *overrides):
        runs = tmp_path_factory.mktemp("runs")
        errors = io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(io.StringIO()),
            redirect_stderr(errors),
        ):
            leave_out_pictures(patch)
            code = main(["train", experiment, f"runs_dir={runs}", *QUICK, *overrides])
        assert code == 0, errors.getvalue()
        (folder,) = runs.glob("*/*")
        return Run.open(folder)

    return train_once


@pytest.fixture
def trained(train_once, tmp_path, monkeypatch):
    """A copy of a run that is trained once for all tests: to look at, go on with, or break."""
    leave_out_pictures(monkeypatch)
    numbers = count()

    def trained(experiment, *overrides):
        run = train_once(experiment, *overrides)
        folder = tmp_path / f"trained-{next(numbers)}" / run.folder.name
        return Run.open(shutil.copytree(run.folder, folder))

    return trained


def pytest_addoption(parser):
    """Say where the networks' contract runs, in which type, and how often a job is preempted."""
    parser.addoption("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.addoption("--dtype", default="float64", choices=["float32", "float64"])
    parser.addoption("--damaged", default=300, type=int, help="tables that are damaged")
    parser.addoption("--preemptions", default=3, type=int, help="of one job on a Slurm cluster")
