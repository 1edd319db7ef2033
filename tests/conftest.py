"""What all tests share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ugmm._torchvision  # noqa: F401  (before any test imports lightning)

import pytest

from ugmm.cli import main
from ugmm.runs import Run

QUICK = ("trainer.accelerator=cpu", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2")

# Tests must not reach for an account or leave anything in the home folder.
os.environ.setdefault("WANDB_MODE", "disabled")


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


@pytest.fixture
def train(tmp_path, capfd):
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


def pytest_addoption(parser):
    """Say where the networks' contract runs, and in which floating-point type."""
    parser.addoption("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.addoption("--dtype", default="float64", choices=["float32", "float64"])
