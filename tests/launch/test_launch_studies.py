"""Studies as jobs: how many tasks, what each runs, and what is said."""

import sys

import pytest

from ugmm.cli import main
from ugmm.launch.jobs import read_jobs
from ugmm.studies.ablation import read_ablation

TEXT = (
    "experiment: iris_disc\nseeds: [0, 1]\nvariants:\n  plain: {}\n  wide: {model.hidden: [9]}\n"
)


@pytest.fixture
def ledger(home):
    (home / "mine.yaml").write_text(TEXT)
    return read_ablation("mine.yaml").open_ledger()


def test_an_ablation_is_an_array_of_which_each_task_takes_what_is_free(home, ledger, capsys):
    settings = ["cluster=slurm", "cluster.array_limit=2", "cluster.tasks=2", "cluster.cpus=3"]
    assert main(["launch", "mine.yaml", *settings, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert (
        text.replace(sys.executable, "PYTHON").replace(str(home), "HOME")
        == """\
#!/bin/bash
#SBATCH --job-name=ablate-mine
#SBATCH --array=0-3%2
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=6
#SBATCH --signal=USR1@120
#SBATCH --output=HOME/runs/mine/ablation/logs/job-%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue

cd HOME || exit
export OMP_NUM_THREADS=6
srun --cpus-per-task=6 PYTHON -m ugmm ablate mine.yaml --jobs=2 --no-wait
"""
    )
    assert not (home / "runs").exists()


def test_there_are_as_many_tasks_as_points_are_left(home, ledger, commands, capsys):
    commands.make("sbatch", out="21\n")
    ledger.extend(read_ablation("mine.yaml").points)
    done, failed, taken, left = ledger.read_points()
    done.run.folder.mkdir(parents=True)
    done.run.write_summary({"test/accuracy": 1.0})
    ledger.write_failure(failed, ValueError("no"))
    with ledger.claims.holding(taken.id, print):
        assert main(["launch", "mine.yaml", "cluster=slurm"]) == 0
    script = (ledger.folder / "job.sh").read_text()
    assert "#SBATCH --array=0-0\n" in script
    assert "job 21: 1 point for 1 task; output in " in capsys.readouterr().out
    assert [job.id for job in read_jobs(ledger.folder)] == ["21"]
    assert (ledger.folder / "logs").is_dir()  # Slurm makes none

    with ledger.claims.holding(taken.id, print), ledger.claims.holding(left.id, print):
        assert main(["launch", "mine.yaml", "cluster=slurm"]) == 1
    assert "no point of mine.yaml is left to run" in capsys.readouterr().err
    assert len(commands.told("sbatch")) == 1


def test_there_are_no_more_tasks_than_asked_for(home, ledger, commands):
    commands.make("sbatch", out="21\n")
    assert main(["launch", "mine.yaml", "cluster=slurm", "cluster.array_size=3"]) == 0
    assert "#SBATCH --array=0-2\n" in (ledger.folder / "job.sh").read_text()
    assert len(ledger.read_points()) == 4  # planned now, whatever becomes of the file


def test_a_search_has_a_task_for_each_point_of_its_trials(home, capsys):
    (home / "search.yaml").write_text(
        "experiment: iris_disc\nseeds: [0, 1]\nmetric: val/nll\nsearch: optuna\ntrials: 5\n"
        "space: {model.dropout: [0.1, 0.2]}\n"
    )
    assert main(["launch", "search.yaml", "cluster=slurm", "--dry-run"]) == 0
    assert "#SBATCH --array=0-9\n" in capsys.readouterr().out


def test_a_cross_validation_is_an_array_over_its_outer_folds(home, commands, capsys):
    commands.make("sbatch", out="22\n")
    assert main(["launch", "wine", "cluster=slurm", "cluster.tasks=8", "cluster.cpus=1"]) == 0
    folder = home / "runs" / "crossval" / "wine"
    text = (folder / "job.sh").read_text()
    assert "#SBATCH --array=0-24\n" in text  # five folds of five seeds
    assert "#SBATCH --cpus-per-task=8\n" in text
    assert text.endswith(" -m ugmm crossval wine --jobs=8 --shared\n")
    assert "job 22: 25 outer folds for 25 tasks" in capsys.readouterr().out
    assert [job.id for job in read_jobs(folder)] == ["22"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["cluster=slurm", "seed=1"], "seed=1: what a study sets stands in its file"),
        (["cluster=slurm", "cluster.nodes=2"], "each task of a study has one node"),
        (["cluster=torchrun"], "cluster=torchrun starts one run; a study is shared"),
    ],
)
def test_what_studies_cannot_have(home, ledger, capsys, arguments, line):
    assert main(["launch", "mine.yaml", *arguments]) == 1
    assert line in capsys.readouterr().err
