"""The command `ugmm launch`: a run folder and a script, which Slurm or torchrun is given."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ugmm.config.choices.plugins import plugin_options, plugin_records
from ugmm.config.cluster import ClusterConfig, SlurmConfig, TorchrunConfig, compose_cluster
from ugmm.config.compose import compose
from ugmm.config.files import KINDS, find_folder
from ugmm.config.frozen import to_yaml
from ugmm.config.schema import Config
from ugmm.config.training import TrainerConfig
from ugmm.errors import UserError
from ugmm.launch.jobs import SCRIPT, add_job
from ugmm.launch.patch import write_patch
from ugmm.launch.script import Job, write_slurm, write_torchrun
from ugmm.launch.slurm import submit
from ugmm.launch.study import launch_study
from ugmm.report.escaping import for_terminal
from ugmm.runs import Run, run_folder
from ugmm.terminal import answer, say
from ugmm.writing import write_atomic

__all__ = ["launch"]


def launch(name: str, overrides: Sequence[str], *, dry_run: bool = False) -> None:
    """Give an experiment or a study to a cluster.

    Args:
        name: Of a file in `experiments/` or a folder below it, or a YAML file.
        overrides: `cluster=slurm` and other keys of the cluster; the rest is the experiment's.
        dry_run: Only print the script.

    Raises:
        UserError: If anything the user can mend keeps it from being launched.
    """
    folder = find_folder(name)
    about_cluster = [text for text in overrides if text.startswith(("cluster=", "cluster."))]
    cluster = compose_cluster(about_cluster)
    own = [text for text in overrides if text not in about_cluster]
    if folder == "experiments":
        _launch_run(compose(name, own), cluster, dry_run=dry_run)
    else:
        launch_study(KINDS[folder].command, name, cluster, own, dry_run=dry_run)


def _launch_run(config: Config, cluster: ClusterConfig, *, dry_run: bool) -> None:
    config = replace(config, trainer=_fit_trainer(config.trainer, cluster))
    if dry_run:
        folder = run_folder(config.runs_dir, config.group, config.name, "ID")
        answer(_write_script(cluster, _describe_job(Run(folder), cluster)))
        return
    run = Run.create(config.runs_dir, config.group, config.name)
    run.freeze(to_yaml(config), plugin_records())
    write_patch(run)
    script = run.folder / SCRIPT
    write_atomic(script, _write_script(cluster, _describe_job(run, cluster)))
    if isinstance(cluster, TorchrunConfig):
        _start(cluster, script)
        return
    try:
        job = submit(script)
    except UserError:
        shutil.rmtree(run.folder, ignore_errors=True)  # nothing is in it that has been computed
        raise
    add_job(run.folder, job)
    shown = for_terminal(str(run.folder))
    say(f"job {job}: {shown}")
    say(f"follow it with: ugmm logs --follow {shown}; ugmm status and ugmm cancel take it, too")


def _fit_trainer(trainer: TrainerConfig, cluster: ClusterConfig) -> TrainerConfig:
    """Return how training runs on a cluster's devices.

    Raises:
        UserError: If the settings ask for others.
    """
    fitting: dict[str, Any] = {
        "accelerator": "gpu" if cluster.gpus else "cpu",
        "devices": cluster.processes,
        "num_nodes": cluster.nodes,
    }
    unsaid = {"accelerator": "auto", "devices": "auto", "num_nodes": 1}
    for key, value in fitting.items():
        if (said := getattr(trainer, key)) not in (value, unsaid[key]):
            raise UserError(
                f"trainer.{key}={said}, and the job would have {value}: that follows from the "
                "keys of cluster (nodes, gpus, tasks); set those"
            )
    fitting["strategy"] = "ddp" if cluster.nodes * cluster.processes > 1 else "auto"
    return replace(trainer, **fitting)


def _describe_job(run: Run, cluster: ClusterConfig) -> Job:
    return Job(
        name=run.id,
        command=["train", "--resume", str(run.folder), *plugin_options()],
        logs=Path.cwd() / run.folder,
        nodes=cluster.nodes,
        tasks=cluster.processes,
        cpus=cluster.cpus if isinstance(cluster, SlurmConfig) else None,
    )


def _write_script(cluster: ClusterConfig, job: Job) -> str:
    if isinstance(cluster, TorchrunConfig):
        return write_torchrun(cluster, job, Path.cwd())
    assert isinstance(cluster, SlurmConfig)
    return write_slurm(cluster, job, Path.cwd())


def _start(cluster: TorchrunConfig, script: Path) -> None:
    """Say what each machine must run; if this one is the only one, become that."""
    if cluster.nodes == 1:
        say(f"run folder: {for_terminal(str(script.parent))}")
        sys.stdout.flush()
        os.execvp("bash", ["bash", str(script)])
    say("start on each machine, with this folder shared:")
    for place, host in enumerate(cluster.hosts):
        say(for_terminal(f"  {host}: bash {script.resolve()} {place}"))
