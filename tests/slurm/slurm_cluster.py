"""A Slurm cluster on this machine: a head and two nodes, all with namespaces of their own.

Each has a host name, an address on a bridge that leads nowhere else, and its own processes; they
share the file system. The head is one process to this side, and takes all others with it.
"""

import os
import shutil
import subprocess
from pathlib import Path
from string import Template

from waiting import wait_until

HERE = Path(__file__).parent
ADDRESSES = {"head": "10.77.0.1", "n1": "10.77.0.11", "n2": "10.77.0.12"}
NODES = ("n1", "n2")
SPACES = ("--mount", "--pid", "--net", "--uts")
UNSHARE = ("unshare", *SPACES, "--fork", "--kill-child", "--mount-proc")
COMMANDS = ("slurmctld", "slurmd", "srun", "munged", "ip", "nsenter", "unshare")
USABLE = {"idle", "mixed", "allocated"}  # with a star behind it, a node does not answer
PATIENCE = 600.0  # seconds; a busy machine is slow


def why_not() -> str | None:
    """Return why no cluster can be started here; None if one can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "it takes root to make namespaces of networks"
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        return f"{', '.join(missing)} missing; tests/slurm/install.sh installs what it takes"
    link = "ip link add name a type bridge && ip link add name b type veth peer name c"
    tried = subprocess.run([*UNSHARE, "sh", "-c", link], capture_output=True, text=True)
    return f"no namespaces of networks here: {tried.stderr.strip()}" if tried.returncode else None


class Cluster:
    """The cluster, from its start to its stop.

    Args:
        folder: Slurm's configuration, state and logs go here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = Template((HERE / "slurm.conf").read_text()).substitute(FOLDER=folder)
        (folder / "slurm.conf").write_text(text)
        hosts = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        self._nodes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Cluster":
        command = [*UNSHARE, HERE / "head.sh", self.folder]
        with (self.folder / "head.log").open("w") as log:
            self._head = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            wait_until(self._answers)
            for name in NODES:
                self.start_node(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._head.stdin.close()
        self._head.wait()
        for node in self._nodes.values():
            node.wait()

    def start(self, *command: str | Path, cwd: Path = HERE, env=os.environ, **how):
        """Start a command on the head; returns its `Popen`."""
        # The folder is env's business: entering a namespace of mounts leads to the root.
        inside = ["nsenter", f"--target={_child(self._head)}", *SPACES, "env", f"--chdir={cwd}"]
        env = {**env, "SLURM_CONF": str(self.folder / "slurm.conf")}
        return subprocess.Popen([*inside, *command], stdin=subprocess.DEVNULL, env=env, **how)

    def run(self, *command: str | Path, cwd: Path = HERE, env=os.environ) -> str:
        """Run a command on the head to its end and return what it printed."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = self.start(*command, cwd=cwd, env=env, **pipes)
        try:
            output = process.communicate(timeout=PATIENCE)[0]
        finally:
            process.kill()
        assert process.returncode == 0, f"{command}: {process.returncode}\n{output}"
        return output

    def start_node(self, name: str) -> None:
        """Start a node, and wait until it can be used."""
        (self.folder / f"spool-{name}").mkdir(exist_ok=True)
        command = (HERE / "node.sh", name, ADDRESSES[name])
        with (self.folder / "log" / name).open("a") as log:
            self._nodes[name] = self.start(*command, stdout=log, stderr=log)
        wait_until(lambda: USABLE & set(self.run("sinfo", "--nodes", name, "--format=%T").split()))

    def kill_node(self, name: str) -> None:
        """Let a node be gone, with all its processes, as if its power had been cut."""
        node = self._nodes.pop(name)
        os.kill(_child(node), 9)
        node.wait()

    def _answers(self) -> bool:
        if self._head.poll() is not None:
            raise RuntimeError((self.folder / "head.log").read_text())
        try:
            return "UP" in self.run("scontrol", "ping")
        except (AssertionError, IndexError):  # nothing is there yet
            return False


def _child(process: subprocess.Popen) -> int:
    """Return the process that `unshare` or `nsenter` has started in other namespaces."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
