"""A run of two processes that something is done to: on one machine, or on two with a wire."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ugmm.runs import Run

__all__ = ["SETTINGS", "Trial", "WiredTrial", "are_equal"]

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 20  # seconds without an answer of the other process, after which a run ends
SETTINGS = (
    "train",
    "iris_gen",
    "trainer.strategy=ddp",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    f"trainer.timeout={TIMEOUT}",
    "trainer.max_epochs=30",
    "trainer.check_val_every_n_epoch=10",
    "trainer.checkpoint.every_steps=7",
    "data.batch_size=8",
    "tracking.mode=disabled",
)
PATIENCE = 180  # seconds, for a command that was disturbed to end


class Trial:
    """A run on this machine, whose first process starts the other.

    Arguments:
        folder: Where it runs.
        chance: Decides what is random.
    """

    settings: tuple[str, ...] = (*SETTINGS, "trainer.devices=2")

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> None:
        """Start a command."""
        self.processes = [self.popen(arguments)]

    def popen(
        self, arguments: tuple[str, ...], inside: tuple[str, ...] = (), **variables: str
    ) -> subprocess.Popen[str]:
        """Start a process of a command, in a session of its own."""
        environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", **variables}
        environment["PYTHONPATH"] = str(ROOT / "src")
        return subprocess.Popen(
            [*inside, sys.executable, "-m", "ugmm", *arguments],
            cwd=self.folder, env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    @property
    def launcher(self) -> subprocess.Popen[str]:
        """The process of rank 0."""
        return self.processes[0]

    def ranks(self) -> list[int]:
        """Return the processes of the run, as far as they have been started."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.launcher.pid)],
            capture_output=True, text=True,
        ).stdout  # fmt: skip
        others = [int(line.split()[0]) for line in listed.splitlines() if "ugmm" in line]
        return [self.launcher.pid, *others]

    def end(self) -> tuple[bool, str]:
        """Wait for the command; return whether it ended by itself, and what it said."""
        until, words, by_itself = time.monotonic() + PATIENCE, "", True
        for process in self.processes:
            try:
                words += process.communicate(timeout=max(1, until - time.monotonic()))[0]
            except subprocess.TimeoutExpired:
                by_itself = False
                send(os.killpg, process.pid, signal.SIGKILL)
                words += process.communicate()[0]
        for process in self.processes:  # a launcher that was killed leaves an orphan
            send(os.killpg, process.pid, signal.SIGKILL)
        return by_itself, words

    def run(self) -> Run | None:
        """Return the run, if it has a folder yet."""
        found = sorted((self.folder / "runs").glob("*/*/config.yaml"))
        return Run(found[0].parent) if found else None

    # What may happen to it.

    def kill_one(self) -> None:
        """SIGKILL to the process that the first has started."""
        send(os.kill, self.ranks()[-1], signal.SIGKILL)

    def kill_launcher(self) -> None:
        """SIGKILL to the first process."""
        send(os.kill, self.launcher.pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """SIGKILL to both, as when a machine goes down."""
        send(os.killpg, self.launcher.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM to the first process."""
        send(os.kill, self.launcher.pid, signal.SIGTERM)

    def preempt(self) -> None:
        """SIGUSR1 to both, one a little after the other."""
        for pid in self.ranks():
            send(os.kill, pid, signal.SIGUSR1)
            time.sleep(self.chance.random() / 10)

    def truncate(self) -> None:
        """SIGKILL to both, and the last checkpoint loses its end."""
        self.kill_all()
        self._damage(lambda data: data[: self.chance.randrange(len(data))])

    def flip(self) -> None:
        """SIGKILL to both, and one bit of the last checkpoint is another."""

        def flipped(data: bytes) -> bytes:
            place = self.chance.randrange(len(data))
            turned = data[place] ^ (1 << self.chance.randrange(8))
            return data[:place] + bytes([turned]) + data[place + 1 :]

        self.kill_all()
        self._damage(flipped)

    def _damage(self, change: Callable[[bytes], bytes]) -> None:
        self.launcher.wait()
        run = self.run()
        if run is not None and run.last.is_file():
            run.last.write_bytes(change(run.last.read_bytes()))

    def fill_disk(self) -> None:
        """Fill the disk that the run is on, until the command has ended."""
        try:
            with (self.folder / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:  # it is not full: nothing would be tried
                raise
        for process in self.processes:
            process.wait(PATIENCE)


class WiredTrial(Trial):
    """A run of a process in each of two network namespaces, with nothing but a wire between them.

    The processes are told what `torchrun` would tell them.
    """

    settings = (*SETTINGS, "trainer.devices=1", "trainer.num_nodes=2")

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.names = [f"ugmm{os.getpid()}-{rank}" for rank in (0, 1)]
        self.port = chance.randrange(20_000, 30_000)
        for name in self.names:
            ip("netns", "add", name)
        first, second = self.names
        ip("-n", first, "link", "add", "wire", "type", "veth", "peer", "wire", "netns", second)
        for rank, name in enumerate(self.names):
            ip("-n", name, "address", "add", f"10.78.0.{rank + 1}/24", "dev", "wire")
            for device in ("lo", "wire"):
                ip("-n", name, "link", "set", device, "up")

    def close(self) -> None:
        """Take the namespaces away, and the wire with them."""
        for name in self.names:
            ip("netns", "delete", name)

    def start(self, *arguments: str) -> None:
        """Start a command in both."""
        self.port += 1
        told = {
            "TORCHELASTIC_RUN_ID": f"trial-{self.port}",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "WORLD_SIZE": "2",
            "LOCAL_RANK": "0",
            "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": "10.78.0.1",
            "MASTER_PORT": str(self.port),
            "GLOO_SOCKET_IFNAME": "wire",
        }
        self.processes = [
            self.popen(
                arguments, ("ip", "netns", "exec", name), **told, RANK=str(rank),
                GROUP_RANK=str(rank),
            )
            for rank, name in enumerate(self.names)
        ]  # fmt: skip

    def cut_shortly(self) -> None:
        """Cut the wire for five seconds."""
        ip("-n", self.names[0], "link", "set", "wire", "down")
        time.sleep(5)
        ip("-n", self.names[0], "link", "set", "wire", "up")

    def cut_for_good(self) -> None:
        """Cut the wire until both processes have ended."""
        ip("-n", self.names[0], "link", "set", "wire", "down")
        for process in self.processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                break  # `end` notes it
        ip("-n", self.names[0], "link", "set", "wire", "up")


def ip(*arguments: str) -> None:
    """Tell the system about networks."""
    subprocess.run(["ip", *arguments], check=True)


def send(how: Callable[[int, int], None], target: int, number: int) -> None:
    """Send a signal; a process that has just ended is none the worse."""
    try:
        how(target, number)
    except ProcessLookupError:
        return


def are_equal(run: Run, whole: Run) -> bool:
    """Tell whether the weights and metrics of two runs are equal, to the last bit."""
    import torch

    mine, theirs = (torch.load(r.last, weights_only=True)["state_dict"] for r in (run, whole))
    weights = mine.keys() == theirs.keys() and all(mine[k].equal(theirs[k]) for k in mine)
    return weights and run.metrics.read_bytes() == whole.metrics.read_bytes()
