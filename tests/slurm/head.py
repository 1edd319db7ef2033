"""What a user does at the head of a cluster."""

import os
import re
import sys
from pathlib import Path

import torch
from slurm_cluster import PATIENCE, Cluster

from ugmm.runs import Run
from waiting import wait_until

UGMM = (sys.executable, "-m", "ugmm")
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
PLUGIN = Path(__file__).with_name("plugin.py")


class Head:
    """A user at the head, in a folder of the test's own."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.env = {**os.environ, "WANDB_MODE": "disabled", "UGMM_PLUGINS": str(PLUGIN)}

    def run(self, *command: str, **variables: str) -> str:
        """Run a command to its end and return what it printed."""
        return self.cluster.run(*command, cwd=self.folder, env={**self.env, **variables})

    def ugmm(self, *arguments: str) -> str:
        """Run a command of this package to its end and return what it printed."""
        return self.run(*UGMM, *arguments)

    def launch(self, experiment: str, *settings: str, **variables: str) -> tuple[str, Run]:
        """Launch an experiment, with these variables in its environment; return job and run."""
        said = self.run(*UGMM, "launch", experiment, *settings, **variables)
        job, folder = re.search(r"job (\d+): (\S+)", said).groups()
        return job, Run.open(self.folder / folder)

    def submit(self, *lines: str, options=()) -> str:
        """Submit a script for both nodes, of which each is left with one task; return its job."""
        (self.folder / "job.sh").write_text("\n".join(["#!/bin/bash", *lines, ""]))
        asked = ("--nodes=2", "--ntasks-per-node=1", "--exclusive", "--output=job.out")
        return self.run("sbatch", "--parsable", *asked, *options, "job.sh").strip()

    @property
    def output(self) -> str:
        """What the jobs of this test have printed."""
        return "\n".join(path.read_text() for path in sorted(self.folder.rglob("*.out")))

    def job(self, number: str) -> dict[str, str]:
        """Return what Slurm says of a job."""
        return dict(re.findall(r"(\w+)=(\S+)", self.run("scontrol", "show", "job", number, "-o")))

    def finish(self, number: str) -> str:
        """Wait for the end of a job and return how it ended."""
        wait_until(lambda: self.job(number)["JobState"] in ENDS, PATIENCE)
        return self.job(number)["JobState"]

    def wait_for_restart(self, number: str, times: int = 1) -> None:
        """Wait until a job has been requeued so many times, and is about to start again."""

        def restarts() -> bool:
            job = self.job(number)
            assert job["JobState"] not in ENDS, self.output
            return int(job["Restarts"]) >= times

        wait_until(restarts, PATIENCE)

    def runs(self) -> list[Run]:
        """Return the runs, the oldest first."""
        folders = self.folder.glob("runs/*/*/config.yaml")
        return [Run.open(p.parent) for p in sorted(folders, key=lambda p: p.stat().st_mtime)]


def final_weights(run: Run) -> dict[str, torch.Tensor]:
    """Return a network's weights as the last checkpoint has them."""
    state = torch.load(run.last, weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in state.items() if name.startswith("network.")}
