"""What `srun`, `sbatch` and `salloc` start by themselves, on two nodes that share only files."""

import shlex

import pytest
from head import UGMM
from slurm_cluster import PATIENCE

from waiting import wait_until

pytestmark = pytest.mark.slurm

TRAIN = shlex.join(
    [*UGMM, "train", "iris_disc", "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=2"]
)


def test_two_runs_in_one_job(head):
    train = f"srun {TRAIN} trainer.num_nodes=2 trainer.max_epochs=2"
    job = head.submit(train, f"{train} seed=1")
    assert head.finish(job) == "COMPLETED", head.output
    assert [run.id.rpartition(".")[2] for run in head.runs()] == ["0", "1"]
    assert all(run.has_ended for run in head.runs())


@pytest.mark.parametrize("shell", ["srun --pty", "salloc"])
def test_a_shell_within_a_job_trains_as_one_process(head, shell):
    # srun starts a shell on the second node too, which has no terminal and ends.
    typed = f"test ${{SLURM_PROCID:-0}} = 1 || {TRAIN} trainer.max_epochs=2"
    asked = f"{shell} --nodes=2 --ntasks-per-node=1 bash -c {shlex.quote(typed)}"
    output = head.run("script", "--quiet", "--return", "--command", asked, "/dev/null")
    assert output.count("run folder:") == 1
    (run,) = head.runs()
    assert run.has_ended


def test_a_killed_rank_ends_the_job(head):
    job = head.submit(f"srun {TRAIN} trainer.num_nodes=2 trainer.max_epochs=100000")
    wait_until(lambda: [run for run in head.runs() if run.last.is_file()], PATIENCE)
    other = ["srun", f"--jobid={job}", "--overlap", "--nodes=1", "--ntasks=1", "--nodelist=n2"]
    head.run(*other, "pkill", "-KILL", "-f", "ugmm train")
    assert head.finish(job) == "FAILED", head.output
