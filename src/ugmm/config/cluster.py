"""Where a job runs, which is no part of an experiment: settings of schedulers and machines.

`cluster=slurm` chooses, `cluster.nodes=2` sets a key; a file of `configs/cluster/` is a choice,
too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ugmm.config.compose import COMMAND_LINE, parse_settings
from ugmm.config.files import yaml_files
from ugmm.config.merge import make_settings, read_yaml
from ugmm.config.values import Said, as_text, literal
from ugmm.errors import UserError, nearest
from ugmm.keys import key

__all__ = ["ClusterConfig", "SlurmConfig", "TorchrunConfig", "compose_cluster"]

# As sbatch takes them: 90, 90:30, 12:00:00, 2-12, 2-12:30, 2-12:30:00.
_TIME = re.compile(r"\d+(:\d\d){0,2}|\d+-\d{1,2}(:\d\d){0,2}")
_MEMORY = re.compile(r"\d+[KMGT]?")


@dataclass
class ClusterConfig:
    """What every choice has."""

    name: str = key()
    gpus: int = key(0, low=0, high=1024)  # of each node, a process each; 0: on the CPU
    tasks: int = key(1, low=1, high=1024)  # processes on each node where there are no GPUs
    setup: list[str] = key([])  # lines of shell before the work: modules, an environment
    prefix: str = ""  # before the command, such as: apptainer exec --nv image.sif
    python: str = ""  # which Python, there; by default the one that launches

    @property
    def nodes(self) -> int:
        """How many machines."""
        raise NotImplementedError

    @property
    def processes(self) -> int:
        """How many processes train on each node."""
        return self.gpus or self.tasks

    def check(self) -> None:
        """Refuse what types and bounds do not tell.

        Raises:
            UserError: If a text has several lines, which a script would take for its own.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and "\n" in text:
                    raise UserError(f"cluster.{field.name}: {text!r} must be one line")


@dataclass
class SlurmConfig(ClusterConfig):
    """Jobs of Slurm. What is left empty, the cluster decides."""

    name: str = "slurm"
    nodes: int = key(1, low=1, high=10_000)  # machines
    cpus: int | None = key(None, low=1, high=1024)  # of each process
    memory: str = ""  # of each node, such as 64G
    time: str = ""  # such as 12:00:00, or 2-00 for two days
    partition: str = ""  # as sbatch has it
    account: str = ""  # as sbatch has it
    qos: str = ""  # as sbatch has it
    constraint: str = ""  # as sbatch has it
    options: list[str] = key([])  # further ones of sbatch, such as --gres=gpu:a100:4
    # Seconds before the time limit at which a run is told, by SIGUSR1, to save and make way; of a
    # short limit at most half, or it would be told at once, and again whenever it comes back.
    margin: int = key(120, low=1, high=65_535)
    requeue: bool = True  # after a time limit, a preemption or a node's failure
    array_size: int = key(64, low=1, high=10_000)  # the most tasks that a study becomes
    array_limit: int | None = key(None, low=1, high=10_000)  # of which run at a time

    @property
    def notice(self) -> int:
        """How many seconds before its end a job is told of it."""
        return min(self.margin, _to_seconds(self.time) // 2) if self.time else self.margin

    def check(self) -> None:
        """See `ClusterConfig.check`; texts that sbatch would not understand are refused too."""
        super().check()
        if self.time and not _TIME.fullmatch(self.time):
            raise UserError(
                f"cluster.time={self.time} is no time; give minutes, hours as 12:00:00, or days "
                "as 2-00"
            )
        if self.memory and not _MEMORY.fullmatch(self.memory):
            raise UserError(f"cluster.memory={self.memory} is no size; give one such as 64G")
        for option in self.options:
            if not re.match(r"-\w|--\w", option):
                raise UserError(
                    f"cluster.options: {option!r} is no option; give such as '--exclude=node7'"
                )


def _to_seconds(time: str) -> int:
    """Return what sbatch takes a time for: without days, what stands alone is minutes."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not dash and len(parts) < 3:
        parts.insert(0, 0)
    hours, minutes, seconds = [*parts, 0, 0][:3]
    return 86_400 * int(days or 0) + 3600 * hours + 60 * minutes + seconds


@dataclass
class TorchrunConfig(ClusterConfig):
    """Machines without a scheduler."""

    name: str = "torchrun"
    hosts: list[str] = key([])  # names or addresses, each once; none: this machine
    port: int = key(29_500, low=1, high=65_535)  # of the first host, which others connect to

    @property
    def nodes(self) -> int:
        """How many machines."""
        return max(1, len(self.hosts))

    def check(self) -> None:
        """See `ClusterConfig.check`."""
        super().check()
        if len({*self.hosts}) < len(self.hosts):
            raise UserError(f"cluster.hosts={self.hosts} must name each machine once")


_KINDS: Mapping[str, type[ClusterConfig]] = {"slurm": SlurmConfig, "torchrun": TorchrunConfig}


@dataclass
class _Settings:
    """So that complaints name keys as they are said: `cluster.nodes`."""

    cluster: ClusterConfig


def compose_cluster(overrides: Sequence[str], root: Path | None = None) -> ClusterConfig:
    """Return where a job runs.

    Args:
        overrides: The command's settings that start with `cluster`.
        root: See `ugmm.config.compose.compose`.

    Raises:
        UserError: If none is chosen, or anything is unknown, mistyped or out of range.
    """
    said = parse_settings(overrides)
    files = yaml_files("configs/cluster", root)
    known = sorted({*files, *_KINDS})
    if "cluster" not in said:
        raise UserError(f"say where it shall run: cluster=..., one of {', '.join(known)}")
    choice = as_text(said.pop("cluster"))
    if choice in files:
        source, keys = str(files[choice]), read_yaml(files[choice])
    elif choice in _KINDS:
        source, keys = COMMAND_LINE, {"name": choice}
    else:
        raise UserError(f"unknown choice cluster={choice}; {nearest(choice, known)}")
    kind = _find_kind(keys.get("name"), source)
    _make(kind, keys, source)  # what is wrong below, the command line has said
    own = {name.removeprefix("cluster."): _literal(value) for name, value in said.items()}
    if "name" in own:
        raise UserError(f"{COMMAND_LINE}: choose by cluster=..., not by cluster.name")
    found = _make(kind, {**keys, **own}, COMMAND_LINE)
    found.check()
    return found


def _find_kind(name: Any, source: str) -> type[ClusterConfig]:
    text = "" if name is None else as_text(name)
    if text not in _KINDS:
        raise UserError(f"{source}: cluster.name must be one of {', '.join(_KINDS)}; got {text!r}")
    return _KINDS[text]


def _make(kind: type[ClusterConfig], keys: dict[str, Any], source: str) -> Any:
    return make_settings(_Settings(kind()), {"cluster": keys}, source).cluster


def _literal(value: Said) -> Said:
    """Let `${HOME}` be the shell's: it refers to no key."""
    return Said(literal(value.text))
