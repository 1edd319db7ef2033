"""Whole runs, each in a process of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from forked import Forked

from ugmm.runs import Run
from wandb_server import WandbServer


class Command:
    """Starts `ugmm`, in a folder of the test's own.

    Attributes:
        folder: Where it starts.
        runs: Where what it trains is kept.
        environment: Of what it starts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.environment = {**os.environ, "WANDB_MODE": "disabled"}
        for name in ("WANDB_API_KEY", "UGMM_RUN_FOLDER"):
            self.environment.pop(name, None)
        self._numbers = count()

    def start(
        self, *arguments: str, first: Callable[[], None] = bool, **environment: str
    ) -> Forked:
        """Start a command."""
        environment = {**self.environment, **environment}
        log = self.folder / f"command-{next(self._numbers)}"
        return Forked(self._completed(arguments), self.folder, environment, log, first)

    def on_ranks(
        self, world: int, *arguments: str, first: Callable[[], None] = bool, code: int = 0
    ) -> str:
        """Run a command in several processes, as torchrun does; return what the first printed."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        launch = {
            "TORCHELASTIC_RUN_ID": f"{port}-{next(self._numbers)}",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "GROUP_RANK": "0",
        }
        arguments = (*arguments, f"trainer.devices={world}", "trainer.strategy=ddp")
        ranks = [
            self.start(*arguments, first=first, **launch, RANK=str(rank), LOCAL_RANK=str(rank))
            for rank in range(world)
        ]
        try:
            outputs = [rank.communicate(timeout=300) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        assert ranks[0].returncode == code, outputs
        return outputs[0][0]

    def start_anew(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start a command as a user does: slower, but it can start itself a second time."""
        return subprocess.Popen(
            [sys.executable, "-m", "ugmm", *self._completed(arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run a command to its end and return what it printed."""
        on_two = any(argument.startswith("trainer.devices=2") for argument in arguments)
        process = (self.start_anew if on_two else self.start)(*arguments, **environment)
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

    def _completed(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        if arguments[0] != "train" or "--resume" in arguments:
            return arguments
        return (*arguments, f"runs_dir={self.runs}", "trainer.accelerator=cpu")


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
    for kind in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER"):  # it tries again as often, but sooner
        ugmm_command.environment[f"WANDB__{kind}_RETRY_WAIT_MIN_SECONDS"] = "0.1"
    return ugmm_command
