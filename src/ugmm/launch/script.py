"""The scripts of jobs, as texts: what is said to sbatch, and what the shell then does.

A text that the user can read and submit again, in place of submitit: that pickles a call into a
folder of its own, and its handler of signals saves and requeues in the first process alone, where
here all processes must agree on the step that they save.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ugmm.config.cluster import ClusterConfig, SlurmConfig, TorchrunConfig

__all__ = ["Job", "write_slurm", "write_torchrun"]

# Names of hosts need not resolve where Slurm's own daemons know each other by address.
_ADDRESS = r"""
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
export MASTER_ADDR=${address:-$first}
"""


@dataclass(frozen=True)
class Job:
    """What a job does, wherever it runs.

    Attributes:
        name: What the scheduler calls it.
        command: The arguments of `ugmm`.
        logs: The folder of its output.
        nodes: How many machines.
        tasks: How many processes on each.
        cpus: How many CPUs each process has; None leaves that to Slurm.
        array: How many jobs of this kind there are; None for one alone.
    """

    name: str
    command: Sequence[str]
    logs: Path
    nodes: int = 1
    tasks: int = 1
    cpus: int | None = None
    array: int | None = None


def write_slurm(cluster: SlurmConfig, job: Job, folder: Path) -> str:
    """Return the script for sbatch.

    Args:
        cluster: What is asked of Slurm.
        job: What it does.
        folder: Where the command is at home: experiments, runs.
    """
    limit = f"%{cluster.array_limit}" if cluster.array_limit else ""
    log = "job-%j.out" if job.array is None else "job-%A_%a.out"
    given = {
        "job-name": job.name,
        "array": None if job.array is None else f"0-{job.array - 1}{limit}",
        "nodes": job.nodes,
        "ntasks-per-node": job.tasks,
        "cpus-per-task": job.cpus,
        "gres": f"gpu:{cluster.gpus}" if cluster.gpus else None,
        "mem": cluster.memory,
        "time": cluster.time,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        # To the processes of the run: with B: in front it would be for this script alone.
        "signal": f"USR1@{cluster.notice}",
        "output": f"{str(job.logs).replace('%', '%%')}/{log}",
        "open-mode": "append",
    }
    options = [f"--{name}={_quote(str(value))}" for name, value in given.items() if value]
    options += ["--requeue" if cluster.requeue else "--no-requeue", *cluster.options]
    step = ["srun"]
    if job.cpus is not None:  # srun does not take it from sbatch
        step.append(f"--cpus-per-task={job.cpus}")
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), ""]
    lines += [f"cd {shlex.quote(str(folder))} || exit", *cluster.setup]
    if job.cpus is not None:  # for clusters that bind no process to its CPUs
        lines.append(f"export OMP_NUM_THREADS={job.cpus}")
    if job.nodes * job.tasks > 1:
        lines += _ADDRESS.strip().splitlines()
    work = shlex.join([_python(cluster), "-m", "ugmm", *job.command])
    lines += [_join(shlex.join(step), cluster.prefix, work), ""]
    return "\n".join(lines)


def write_torchrun(cluster: TorchrunConfig, job: Job, folder: Path) -> str:
    """Return the script that runs on each machine, which is given its place in the list of hosts.

    Args:
        cluster: The machines.
        job: What they do.
        folder: Where the command is at home, on each of them.
    """
    lines = ["#!/bin/bash"]
    launcher = [_python(cluster), "-m", "torch.distributed.run", f"--nproc-per-node={job.tasks}"]
    if job.nodes == 1:
        launcher.append("--standalone")
        place = ""
    else:
        launcher += [f"--nnodes={job.nodes}", f"--master-addr={cluster.hosts[0]}"]
        launcher.append(f"--master-port={cluster.port}")
        lines.append(f"place=${{1:?give the place of this machine, from 0 to {job.nodes - 1}}}")
        place = '--node-rank="$place"'
    work = shlex.join(["-m", "ugmm", *job.command])
    lines += [f"cd {shlex.quote(str(folder))} || exit", *cluster.setup]
    lines += [_join("exec", cluster.prefix, shlex.join(launcher), place, work), ""]
    return "\n".join(lines)


def _python(cluster: ClusterConfig) -> str:
    return cluster.python or sys.executable


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _quote(value: str) -> str:
    """Return a value as sbatch reads it from a script, which is no shell."""
    if not re.search(r"[\s\"'\\#]", value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
