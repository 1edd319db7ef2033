"""Two states of the sources side by side: a worktree of a commit, and a process for each state.

A worker is this file, run with the sources of one tree before all others. It is told on a line of
JSON each what to call, and answers on one, so that steps of both trees can alternate.
"""

import contextlib
import functools
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import BenchError, Lap, described

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def git(*arguments: str, folder: Path | None = None) -> str | None:
    """What git says in a folder, by default this checkout; None where it fails or is missing."""
    command = ["git", "-C", str(folder or ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def commit_of(tree: Path) -> str:
    """The commit of a tree, and whether what is measured has changed since."""
    commit = git("rev-parse", "--short", "HEAD", folder=tree)
    if commit is None:
        return "no commit (this is no git checkout)"
    measured = ("src", "configs", "experiments", "benchmarks/*.py")
    changed = git("status", "--porcelain", "--", *measured, folder=tree)
    return f"{commit} with uncommitted changes" if changed else commit


def environment(tree: Path) -> dict[str, str]:
    """The environment of a process that takes `ugmm` from a tree, on one thread.

    Freed memory stays with the process: whether glibc gives it back after a step, to fetch it anew
    page by page in the next one, hangs on chance, and takes up to a quarter of a step.
    """
    others = os.environ.get("PYTHONPATH")
    path = str(tree / "src") + (os.pathsep + others if others else "")
    keep = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
    threads = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return {**os.environ, **threads, **keep, "WANDB_MODE": "offline"}


@contextlib.contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A commit's files in a temporary folder, which is gone afterwards, however it ends.

    Raises:
        BenchError: There is no such commit, or no git to take it from.
    """
    if git("rev-parse", "--git-dir") is None:
        raise BenchError(f"--against needs a git checkout, which {ROOT} is not")
    # Else a name such as --help would be an option of git's.
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", commit + "^{commit}")
    if not found:
        raise BenchError(f"--against: there is no commit {commit!r} here; see git log --oneline")
    with tempfile.TemporaryDirectory(prefix="ugmm-bench-") as folder:
        tree = Path(folder, "tree")
        try:
            if git("worktree", "add", "--detach", str(tree), found) is None:
                raise BenchError(f"git could not write the files of {commit!r} to {folder}")
            yield tree
        finally:
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C can wait
            git("worktree", "remove", "--force", str(tree))
            signal.signal(signal.SIGINT, before)


class Worker:
    """A process that calls functions of the benchmarks with a tree's sources, on one thread.

    Arguments:
        tree: The folder with `src/`.
    """

    def __init__(self, tree: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "trees.py"), str(tree / "src")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(tree),
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def call(self, module: str, function: str, *arguments: Any) -> Any:
        """What a function returns there.

        Raises:
            BenchError: The function has failed, or its process has.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps([module, function, arguments]) + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise BenchError(f"the process ended, with exit code {self.process.wait()}")
        result, error = json.loads(answer)
        if error:
            raise BenchError(error)
        return result

    def step(self, module: str, *arguments: Any) -> list[Lap]:
        """A step of what `module.make(*arguments)` makes; made at its first step."""
        return [Lap(*lap) for lap in self.call("trees", "step", module, arguments)]


_made: dict[str, Any] = {}


def step(module: str, arguments: list[Any]) -> list[Lap]:
    """A step of a contender, in the worker."""
    key = json.dumps([module, arguments])
    if key not in _made:
        _made[key] = importlib.import_module(module).make(*arguments)
    return _made[key]()


def forget() -> None:
    """Let go of all contenders."""
    _made.clear()


def serve(sources: str) -> None:
    """Answer calls, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has started this
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print
        found = importlib.util.find_spec("ugmm")
        if found is None or not Path(str(found.origin)).is_relative_to(sources):
            raise SystemExit(f"ugmm is not taken from {sources}: {found}")
        for line in sys.stdin:
            module, function, arguments = json.loads(line)
            try:
                answer = getattr(importlib.import_module(module), function)(*arguments), None
            except Exception as error:
                answer = None, described(error)
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
