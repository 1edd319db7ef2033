"""Faults at random moments: is a run lost, and does it end as one that nothing has happened to?

python benchmarks/clusters/faults.py [--faults 50] [--quick] [--write]

Every fault is done to a fresh run of two processes, at a moment drawn from the length of an
unbroken run; then the run is gone on with, by `ugmm train --resume`, until it has ended. Its last
weights must be those of the unbroken run, bit for bit, and so must every row of its metrics: a
sample that an epoch had seen twice, or never, would change both. It writes `docs/reliability.md`.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import results
import torch

from ugmm.runs import Run

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
SETTINGS = (
    "train",
    "iris_gen",
    "trainer.devices=2",
    "trainer.strategy=ddp",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "trainer.max_epochs=60",
    "trainer.check_val_every_n_epoch=10",
    "trainer.checkpoint.every_steps=7",
    "data.batch_size=8",
    "tracking.mode=disabled",
)
SMALL_DISK = "6m"
PATIENCE = 180  # seconds, for a command that was disturbed to end


class Trial:
    """A run that something is done to.

    Arguments:
        folder: Where it runs.
        chance: Decides what is random.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> None:
        """Start a command, in a session of its own."""
        environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(ROOT / "src")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ugmm", *arguments],
            cwd=self.folder, env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    @property
    def launcher(self) -> subprocess.Popen[str]:
        """The process that was started, rank 0."""
        assert self.process is not None
        return self.process

    def ranks(self) -> list[int]:
        """Return the processes of the run: the launcher, and the one that it has started."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.launcher.pid)],
            capture_output=True, text=True,
        ).stdout  # fmt: skip
        others = [int(line.split()[0]) for line in listed.splitlines() if "ugmm" in line]
        return [self.launcher.pid, *others]

    def end(self) -> tuple[int | None, str]:
        """Wait for the command; return its exit code, None if it would not end, and its words."""
        try:
            out, _ = self.launcher.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            with_all_signals(os.killpg, self.launcher.pid, signal.SIGKILL)
            self.launcher.communicate()
            return None, ""
        return self.launcher.returncode, out

    def run(self) -> Run | None:
        """Return the run, if it has a folder yet."""
        found = sorted((self.folder / "runs").glob("*/*/config.yaml"))
        return Run(found[0].parent) if found else None


def with_all_signals(send: Callable[[int, int], None], target: int, number: int) -> None:
    """Send a signal; a process that has just ended is none the worse."""
    try:
        send(target, number)
    except ProcessLookupError:
        return


def kill_one(trial: Trial) -> None:
    """SIGKILL to the rank that the launcher has started."""
    with_all_signals(os.kill, trial.ranks()[-1], signal.SIGKILL)


def kill_launcher(trial: Trial) -> None:
    """SIGKILL to the launcher, which is rank 0."""
    with_all_signals(os.kill, trial.launcher.pid, signal.SIGKILL)


def kill_all(trial: Trial) -> None:
    """SIGKILL to all ranks, as when a machine goes down."""
    with_all_signals(os.killpg, trial.launcher.pid, signal.SIGKILL)


def terminate(trial: Trial) -> None:
    """SIGTERM to the launcher."""
    with_all_signals(os.kill, trial.launcher.pid, signal.SIGTERM)


def preempt(trial: Trial) -> None:
    """SIGUSR1 to all ranks, one a little after the other, as Slurm sends it."""
    for pid in trial.ranks():
        with_all_signals(os.kill, pid, signal.SIGUSR1)
        time.sleep(trial.chance.random() / 10)


def truncate(trial: Trial) -> None:
    """SIGKILL to all, and the last checkpoint loses its end."""
    kill_all(trial)
    damage(trial, lambda data: data[: trial.chance.randrange(len(data))])


def flip(trial: Trial) -> None:
    """SIGKILL to all, and one bit of the last checkpoint is another."""

    def flipped(data: bytes) -> bytes:
        place = trial.chance.randrange(len(data))
        turned = data[place] ^ (1 << trial.chance.randrange(8))
        return data[:place] + bytes([turned]) + data[place + 1 :]

    kill_all(trial)
    damage(trial, flipped)


def damage(trial: Trial, change: Callable[[bytes], bytes]) -> None:
    """Change the last checkpoint, if there is one."""
    trial.launcher.wait()
    run = trial.run()
    if run is not None and run.last.is_file():
        run.last.write_bytes(change(run.last.read_bytes()))


def fill_disk(trial: Trial) -> None:
    """Fill the disk that the run is on; it is made free again when the command has ended."""
    filler = trial.folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


class Fault(NamedTuple):
    """A kind of fault."""

    name: str
    do: Callable[[Trial], None]
    on_small_disk: bool = False


FAULTS = (
    Fault("SIGKILL of one rank", kill_one),
    Fault("SIGKILL of the launcher", kill_launcher),
    Fault("SIGKILL of all ranks", kill_all),
    Fault("SIGTERM", terminate),
    Fault("SIGUSR1 to every rank", preempt),
    Fault("last checkpoint truncated", truncate),
    Fault("a bit of the last checkpoint flipped", flip),
    Fault("the disk full", fill_disk, on_small_disk=True),
)


class Outcome(NamedTuple):
    """What became of a run."""

    begun: bool  # there was a run folder to go on with
    already_over: bool
    seconds: float  # from the fault to the end of the command
    hung: bool
    traceback: bool
    resumed: int  # how many commands it took
    same: bool


@contextmanager
def a_folder(small: bool) -> Iterator[Path]:
    """Make an empty folder, on a disk of its own that is nearly full if it shall be `small`."""
    folder = Path(tempfile.mkdtemp(prefix="ugmm-faults-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    try:
        if small:
            subprocess.run(mount, check=True)
        yield folder
    finally:
        if small:
            subprocess.run(["umount", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def try_fault(fault: Fault, whole: Run, length: float, chance: random.Random) -> Outcome:
    """Do a fault to a fresh run, go on with that to its end, and compare it with the unbroken."""
    with a_folder(fault.on_small_disk) as folder:
        trial = Trial(folder, chance)
        trial.start(*SETTINGS)
        time.sleep(chance.random() * length)
        over = trial.launcher.poll() is not None
        start = time.monotonic()
        fault.do(trial)
        code, said = trial.end()
        seconds = time.monotonic() - start
        with_all_signals(os.killpg, trial.launcher.pid, signal.SIGKILL)  # an orphan, of a launcher
        (folder / "filler").unlink(missing_ok=True)
        traceback = "Traceback" in said
        run, commands = trial.run(), 0
        begun = run is not None
        while run is not None and not run.has_ended and commands < 3:
            commands += 1
            trial.start("train", "--resume", str(run.folder))
            _, said = trial.end()
            traceback |= "Traceback" in said
        same = run is None or (run.has_ended and are_equal(run, whole))
        return Outcome(begun, over, seconds, code is None, traceback, commands, same)


def are_equal(run: Run, whole: Run) -> bool:
    """Tell whether weights and metrics are equal, to the last bit."""
    mine, theirs = (torch.load(r.last, weights_only=True)["state_dict"] for r in (run, whole))
    weights = mine.keys() == theirs.keys() and all(mine[k].equal(theirs[k]) for k in mine)
    return weights and run.metrics.read_bytes() == whole.metrics.read_bytes()


def main() -> None:
    """Try all kinds in turn, and write down what became of the runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--faults", type=int, default=50, help="how many in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = results.read_options(parser)
    chance = random.Random(options.seed)
    count = len(FAULTS) if options.quick else options.faults
    found: dict[str, list[Outcome]] = collections.defaultdict(list)
    with a_folder(small=False) as folder:
        trial = Trial(folder, chance)
        start = time.monotonic()
        trial.start(*SETTINGS)
        code, said = trial.end()
        length, whole = time.monotonic() - start, trial.run()
        if code != 0 or whole is None:
            raise SystemExit(f"the unbroken run failed: {said}")
        for number in range(count):
            fault = FAULTS[number % len(FAULTS)]
            outcome = try_fault(fault, whole, length, chance)
            print(f"{number + 1} of {count}: {fault.name}: {outcome}", flush=True)
            found[fault.name].append(outcome)
    text = describe(found, length, count)
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    if not all(each.same and not each.hung for outcomes in found.values() for each in outcomes):
        raise SystemExit("a run was lost, hung, or ended otherwise than the unbroken one")


def describe(found: dict[str, list[Outcome]], length: float, count: int) -> str:
    """Return the page."""
    lines = [
        [
            name, len(outcomes), sum(each.begun for each in outcomes),
            f"{max(each.seconds for each in outcomes):.1f}", sum(each.hung for each in outcomes),
            sum(each.traceback for each in outcomes), sum(each.resumed for each in outcomes),
            f"{sum(each.same for each in outcomes)} of {len(outcomes)}",
        ]
        for name, outcomes in found.items()
    ]  # fmt: skip
    columns = [
        "fault", "tried", "a run had begun", "until the command had ended, at most, s", "hung",
        "tracebacks", "commands to go on", "ended as the unbroken run",
    ]  # fmt: skip
    return f"""# What becomes of a run that something happens to

{count} faults at random moments, each to a fresh run of two processes.
{results.about("faults")}.

The unbroken run takes {length:.0f} s: `ugmm {" ".join(SETTINGS)}`.
After a fault the run is gone on with by `ugmm train --resume` until it has ended. The last column
counts the runs whose last weights *and* rows of `metrics.csv` are those of the unbroken run to the
last bit: had an epoch seen a sample twice, or left one out, neither would be.

{results.table(columns, lines)}
"""


if __name__ == "__main__":
    main()
