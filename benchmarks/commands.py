"""Commands as a user types them: how long they take to start, and whole trainings.

Run by itself, this file is `ugmm` with a clock around the training's fit: its first argument is a
file for what that shows.
"""

import functools
import importlib.abc
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cases import COLUMNS, NOW, Measured, label, times
from common import BenchError, Lap, Step, Table, Timing, alternate, now, say
from trees import HERE, environment

STARTS = {
    "ugmm --help": ("-m", "ugmm", "--help"),
    "ugmm list": ("-m", "ugmm", "list"),
    "import ugmm": ("-c", "import ugmm"),
}
PYTHON = "python -c pass"
SHORT = 120  # epochs of iris_disc in a quick run
TRAININGS = {  # by experiment: settings, and whether it is of every tree
    "iris_disc": ([], True),
    "mnist_disc": (["trainer.max_epochs=2", "trainer.threads=1"], True),
    "mnist_mlp": (["trainer.max_epochs=2", "trainer.threads=1"], False),
}
TRAINER = "lightning.pytorch.trainer.trainer"


def measure(trees: dict[str, Path], quick: bool, device: str) -> Measured:  # noqa: ARG001
    """Time all commands."""
    with tempfile.TemporaryDirectory() as folder:
        found = [start_up(trees, Path(folder), quick), train(trees, Path(folder), quick)]
    return Measured([t for f in found for t in f.tables], [r for f in found for r in f.records])


def start_up(trees: dict[str, Path], folder: Path, quick: bool) -> Measured:
    """How long commands take that do next to nothing."""
    steps: dict[Any, Step] = {}
    for name, arguments in STARTS.items():
        for tree, path in trees.items():
            steps[name, tree] = functools.partial(run, path, arguments, folder)
    steps[PYTHON, NOW] = functools.partial(run, trees[NOW], ("-c", "pass"), folder)
    results, failed = alternate(steps, 15 if quick else 60, most=20)
    table = Table(
        "Start-up", list(COLUMNS), "Each a process of its own; times: of `python -c pass`."
    )
    timings = {key: Timing.of(laps) for key, laps in results.items()}
    rows = [(name, tree, name, timings.get((name, tree))) for name, tree in steps]
    return Measured([table], add_rows(table, trees, rows, timings.get((PYTHON, NOW)), failed))


def train(trees: dict[str, Path], folder: Path, quick: bool) -> Measured:
    """Whole trainings, and a step in their fit, with whatever the trainer does around it."""
    steps: dict[Any, Step] = {}
    for experiment, (settings, everywhere) in TRAININGS.items():
        if quick and experiment != "iris_disc":
            continue
        settings = [f"trainer.max_epochs={SHORT}"] if quick else settings
        for tree, path in trees.items():
            if everywhere or tree == NOW:
                say(f"{experiment}: an epoch, to compile what is compiled")
                run_training(path, experiment, ["trainer.max_epochs=1"], folder)
                arguments = (path, experiment, settings, folder)
                steps[experiment, tree] = functools.partial(run_training, *arguments)
    results, failed = alternate(steps, 0, most=1 if quick else 3, warm=False)
    table = Table(
        "Trainings by `ugmm train`, on one thread",
        list(COLUMNS),
        "a step: of the fit, with its validations, checkpoints and records; whole: the command, "
        "with imports, test and pictures."
        + (f" iris_disc is cut to {SHORT} epochs." if quick else " MNIST: 2 epochs."),
    )
    rows = []
    for part, what in enumerate(("a step", "whole")):
        for experiment, tree in steps:
            laps = [[done[part]] for done in results[experiment, tree]]
            rows.append((experiment, tree, f"{experiment}, {what}", Timing.of(laps)))
    return Measured([table], add_rows(table, trees, rows, None, failed))


def add_rows(table, trees, rows, first, failed) -> list[dict[str, Any]]:
    """Add rows of (contender, tree, case, timing); returns their records."""
    records = []
    for contender, tree, case, timing in rows:
        shown = label(contender, tree, trees)
        if timing is None:
            table.add(case, shown, failed[contender, tree])
            continue
        ours = next((t for _, _, c, t in rows if c == case and t is not None), None)
        table.add(case, shown, *times(timing, first or ours))
        records.append(
            {"part": "commands", "case": case, "contender": contender, "tree": tree}
            | {"seconds": timing.seconds.median}
        )
    return records


def run(tree: Path, arguments: tuple[str, ...], folder: Path) -> list[Lap]:
    """Run Python with a tree's sources; returns its whole time, and its children's.

    Raises:
        BenchError: It has failed.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment(tree),
            cwd=folder,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)  # else it is waited for again
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise BenchError(f"exit code {process.returncode}: {' '.join(last)[:80]}")
    return [Lap(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)]


def run_training(tree: Path, experiment: str, settings: list[str], folder: Path) -> list[Lap]:
    """Run a training; returns a step of its fit, and the whole command."""
    report = folder / "fit.json"
    report.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as runs:
        arguments = [
            str(HERE / "commands.py"),
            str(report),
            "train",
            experiment,
            f"runs_dir={runs}",
            *settings,
        ]
        whole = run(tree, tuple(arguments), folder)
    if not report.is_file():
        raise BenchError("its fit was not seen: is it still Lightning's?")
    fit = json.loads(report.read_text())
    return [Lap(*(seconds / fit["steps"] for seconds in fit["laps"])), *whole]


class FitClock(importlib.abc.MetaPathFinder):
    """Puts a clock around `Trainer.fit` when, and only when, a command imports Lightning.

    Arguments:
        report: The file for what it shows.
    """

    def __init__(self, report: Path) -> None:
        self.report = report

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002
        """Find the trainer's module by the other finders, and change it once it is loaded."""
        if name != TRAINER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.Trainer.fit = self.timed(module.Trainer.fit)

        spec.loader.exec_module = exec_module
        return spec

    def timed(self, fit):
        """The same fit, timed."""

        @functools.wraps(fit)
        def timed_fit(trainer, *args, **kwargs):
            start = now()
            fit(trainer, *args, **kwargs)
            end = now()
            laps = [end.wall - start.wall, end.cpu - start.cpu]
            self.report.write_text(json.dumps({"laps": laps, "steps": trainer.global_step}))

        return timed_fit


if __name__ == "__main__":
    _, report, *sys.argv[1:] = sys.argv
    sys.path.pop(0)  # this folder's
    sys.meta_path.insert(0, FitClock(Path(report)))
    from ugmm.__main__ import main

    sys.exit(main())
