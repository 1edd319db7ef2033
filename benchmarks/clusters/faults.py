"""Faults at random moments: is a run lost, and does it end as one that nothing has happened to?

python benchmarks/clusters/faults.py [--faults 50] [--quick] [--write]

Every fault is done to a fresh run of two processes, at a moment drawn from the length of an
unbroken run; then the run is gone on with, by `ugmm train --resume`, until it has ended. Its last
weights must be those of the unbroken run, bit for bit, and so must every row of its metrics: a
sample that an epoch had seen twice, or never, would change both. It writes `docs/reliability.md`.
It takes root, for a disk and a network of its own.
"""

import argparse
import collections
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import results
from trial import SETTINGS, TIMEOUT, Trial, WiredTrial, are_equal

from ugmm.runs import Run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
SMALL_DISK = "6m"


class Fault(NamedTuple):
    """A kind of fault: what it is called, what is done, and to what."""

    name: str
    do: Callable[[Any], None]
    kind: type[Trial] = Trial
    on_small_disk: bool = False


FAULTS = (
    Fault("SIGKILL of one process", Trial.kill_one),
    Fault("SIGKILL of the first, which has started the other", Trial.kill_launcher),
    Fault("SIGKILL of both", Trial.kill_all),
    Fault("SIGTERM", Trial.terminate),
    Fault("SIGUSR1 to both", Trial.preempt),
    Fault("last checkpoint truncated", Trial.truncate),
    Fault("a bit of the last checkpoint flipped", Trial.flip),
    Fault("the disk full", Trial.fill_disk, on_small_disk=True),
    Fault("the network cut for 5 s", WiredTrial.cut_shortly, WiredTrial),
    Fault("the network cut for good", WiredTrial.cut_for_good, WiredTrial),
)


class Outcome(NamedTuple):
    """What became of a run."""

    begun: bool  # there was a run folder to go on with
    seconds: float  # from the fault to the end of the command
    hung: bool
    traceback: bool
    commands: int  # that it took to go on to the end
    same: bool


@contextmanager
def a_folder(small: bool = False) -> Iterator[Path]:
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
        trial = fault.kind(folder, chance)
        with closing(trial) if isinstance(trial, WiredTrial) else nullcontext():
            trial.start(*trial.settings)
            time.sleep(chance.random() * length)
            start = time.monotonic()
            fault.do(trial)
            by_itself, said = trial.end()
            seconds = time.monotonic() - start
            (folder / "filler").unlink(missing_ok=True)
            run, commands = trial.run(), 0
            while run is not None and not run.has_ended and commands < 3:
                commands += 1
                trial.start("train", "--resume", str(run.folder))
                said += trial.end()[1]
            same = run is None or (run.has_ended and are_equal(run, whole))
            if not same:
                print(said)
            return Outcome(
                run is not None, seconds, not by_itself, "Traceback" in said, commands, same
            )


def unbroken(folder: Path, chance: random.Random) -> tuple[Run, float]:
    """Return a run that nothing happens to, and how long it took."""
    trial = Trial(folder, chance)
    start = time.monotonic()
    trial.start(*trial.settings)
    _, said = trial.end()
    run = trial.run()
    if run is None or not run.has_ended:
        raise SystemExit(f"the unbroken run failed: {said}")
    return run, time.monotonic() - start


def main() -> None:
    """Try all kinds in turn, and write down what became of the runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--faults", type=int, default=50, help="how many in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = results.read_options(parser)
    chance = random.Random(options.seed)
    count = len(FAULTS) if options.quick else options.faults
    found: dict[str, list[Outcome]] = collections.defaultdict(list)
    with a_folder() as folder:
        whole, length = unbroken(folder, chance)
        print(f"the unbroken run took {length:.1f} s", flush=True)
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
    begun = {name: [each for each in outcomes if each.begun] for name, outcomes in found.items()}
    lines = [
        [
            name, len(outcomes), len(begun[name]),
            f"{max(each.seconds for each in outcomes):.1f}", sum(each.hung for each in outcomes),
            sum(each.traceback for each in outcomes), sum(each.commands for each in outcomes),
            f"{sum(each.same for each in begun[name])} of {len(begun[name])}",
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
last bit: had an epoch seen a sample twice, or left one out, neither would be. Where the moment
came before there was a run's folder, nothing was lost, and nothing is counted. A process that
hears nothing of the other for {TIMEOUT} s (`trainer.timeout`) ends with one line.

{results.table(columns, lines)}
"""


if __name__ == "__main__":
    main()
