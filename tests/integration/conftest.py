"""Whole runs, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ugmm.runs import Run
from wandb_server import WandbServer


class Command:
    """Starts `ugmm` in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self.environment = {**os.environ, "WANDB_MODE": "disabled"}
        for name in ("WANDB_API_KEY", "UGMM_RUN_FOLDER"):
            self.environment.pop(name, None)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start a command."""
        if arguments[0] == "train" and "--resume" not in arguments:
            arguments = (*arguments, f"runs_dir={self.runs}", "trainer.accelerator=cpu")
        return subprocess.Popen(
            [sys.executable, "-m", "ugmm", *arguments],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run a command to its end and return what it printed."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        assert process.returncode == code, out + err
        return out + err

    def all_runs(self) -> list[Run]:
        """Return the runs, the oldest first."""
        folders = self.runs.glob("*/*/config.yaml")
        return [Run.open(p.parent) for p in sorted(folders, key=lambda p: p.stat().st_mtime)]


@pytest.fixture
def ugmm_command(tmp_path):
    return Command(tmp_path)


@pytest.fixture
def server():
    with WandbServer() as server:
        yield server
        assert server.unknown == []


@pytest.fixture
def online(ugmm_command, server, tmp_path):
    """The command, online; W&B's own settings and credentials are kept away."""
    for name in [name for name in ugmm_command.environment if name.startswith("WANDB_")]:
        del ugmm_command.environment[name]
    ugmm_command.environment |= {
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": "f" * 40,
        "WANDB_FINISH_TIMEOUT": "5",
        "NETRC": str(tmp_path / "netrc"),
        "WANDB_CONFIG_DIR": str(tmp_path / "config"),
    }
    return ugmm_command
