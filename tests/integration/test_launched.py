"""Launched runs, from the command to their end: by a stand-in for Slurm, and by torchrun."""

import os
import sys

import pytest

from ugmm.runs import Run

QUICK = ("trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2")

# Runs the script as Slurm does, by itself and with its output in the file that it names.
SBATCH = r"""#!/bin/bash
script=${@: -1}
output=$(sed -n 's/^#SBATCH --output=//p' "$script")
SLURM_JOB_ID=7 setsid bash "$script" > "${output/\%j/7}" 2>&1 < /dev/null &
echo $! > "$(dirname "$0")/pid"
echo 7
"""
SQUEUE = r"""#!/bin/bash
kill -0 "$(cat "$(dirname "$0")/pid")" 2> /dev/null && state=RUNNING || state=COMPLETED
echo "7|$state|None"
"""
SRUN = """#!/bin/bash
exec "$@"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A path with a Slurm of one process."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "srun": SRUN}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
def test_a_job_is_launched_and_followed_to_its_end(ugmm_command, slurm):
    output = ugmm_command("launch", "iris_disc", "cluster=slurm", *QUICK, **slurm)
    (run,) = ugmm_command.all_runs()
    assert f"job 7: {run.folder.relative_to(ugmm_command.folder)}" in output
    shown = ugmm_command("logs", "--follow", str(run.folder), **slurm)
    assert "epoch 4/4" in shown
    assert run.has_ended
    assert (run.folder / "job-7.out").read_text() in shown
    table = ugmm_command("status", str(run.folder), **slurm)
    assert "finished" in table
    assert "4/4" in table


@pytest.mark.slow
def test_torchrun_trains_on_all_processes_that_were_asked_for(ugmm_command):
    process = ugmm_command.start_anew(
        "launch", "iris_disc", "cluster=torchrun", "cluster.tasks=2", *QUICK
    )
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    (run,) = ugmm_command.all_runs()
    assert "MEMBER: 2/2" in output + errors
    assert output.startswith(f"run folder: {run.folder.relative_to(ugmm_command.folder)}\n")
    assert Run.open(run.folder).has_ended
    assert sys.executable in (run.folder / "job.sh").read_text()
