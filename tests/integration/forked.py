"""Processes that run `ugmm`, forked from one that has imported all it takes, which is quicker."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FORKS = multiprocessing.get_context("fork")
CONTEXT = multiprocessing.get_context("forkserver")
# What training imports, and what W&B's SDK and scikit-learn import late.
CONTEXT.set_forkserver_preload(
    ["ugmm.training.run", "wandb.sdk.launch.inputs.internal", "sklearn.datasets"]
)


class Forked:
    """A process of its own that runs a command; as much of `subprocess.Popen` as tests need.

    Args:
        arguments: What follows `ugmm` on the command line.
        folder: Where it runs.
        environment: All of its environment.
        log: Its output goes to this file, and its errors to the one beside it.
        first: What it does before.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        first: Callable[[], None] = bool,
    ) -> None:
        self._out, self._err = log.with_suffix(".out"), log.with_suffix(".err")
        paths = (self._out, self._err)
        self._process = CONTEXT.Process(
            target=_run, args=(list(arguments), folder, dict(environment), paths, first)
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or less the signal that ended it; None while it runs."""
        return self._process.exitcode

    poll = returncode.fget

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def output(self) -> str:
        """What it has printed so far."""
        return self._out.read_text() if self._out.is_file() else ""

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return its output and its errors."""
        self._process.join(timeout)
        assert not self._process.is_alive(), f"it goes on: {self.output()}"
        return self.output(), self._err.read_text() if self._err.is_file() else ""


def _run(
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    paths: tuple[Path, Path],
    first: Callable[[], None],
) -> None:
    # Workers that the command spawns are forked too: no thread of torch is in their way here yet.
    multiprocessing.get_context = lambda _: FORKS
    silent = os.environ["WANDB_SILENT"]  # set by ugmm as it was imported
    os.environ.clear()
    os.environ.update({"WANDB_SILENT": silent, **environment})
    os.chdir(folder)
    for descriptor, path in enumerate(paths, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    first()
    from ugmm.cli import main

    sys.exit(main(arguments))
