"""What `ugmm launch` leaves in a run folder, and what it hands to sbatch."""

import json
import subprocess
import time

import pytest

import ugmm.launch.patch
from ugmm.cli import main
from ugmm.config.frozen import read_config
from ugmm.launch.jobs import read_jobs
from ugmm.runs import Run


def launched(home):
    (folder,) = home.glob("runs/*/*")
    return Run.open(folder.relative_to(home))


def test_the_run_folder_is_made_with_all_that_the_job_needs(home, commands, capsys, monkeypatch):
    commands.make("sbatch", out="17;abroad\n")
    # As in a shell within a job, whose variables another job must not take for its own.
    monkeypatch.setenv("SLURM_PTY_PORT", "4711")
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    monkeypatch.setenv("SLURM_CONF", "/etc/its.conf")
    settings = ["cluster=slurm", "cluster.nodes=2", "cluster.tasks=3", "seed=5"]
    assert main(["launch", "iris_disc", *settings]) == 0
    run = launched(home)
    config = read_config(run)
    assert config.seed == 5
    trainer = config.trainer
    assert (trainer.accelerator, trainer.devices, trainer.num_nodes) == ("cpu", 3, 2)
    assert trainer.strategy == "ddp"
    assert {"commit", "dirty"} == set(run.read_environment()["git"])

    (told,) = commands.told("sbatch")
    assert told["argv"] == ["--parsable", f"{run.folder}/job.sh"]
    assert "SLURM_PTY_PORT" not in told["env"]
    assert "SLURM_JOB_ID" not in told["env"]
    assert told["env"]["SLURM_CONF"] == "/etc/its.conf"
    script = (run.folder / "job.sh").read_text()
    assert f"#SBATCH --job-name={run.id}\n" in script
    assert script.endswith(f"train --resume {run.folder}\n")

    assert [job.id for job in read_jobs(run.folder)] == ["17"]
    output = capsys.readouterr().out
    assert f"job 17: {run.folder}\n" in output
    assert f"ugmm logs --follow {run.folder}" in output


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "sbatch: error: invalid partition specified: gpuu\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "ugmm: error: Slurm refuses the job: invalid partition specified: gpuu; Batch job "
            "submission failed: Invalid partition name specified; see the keys of cluster\n",
        ),
        ("", "ugmm: error: Slurm refuses the job: it does not say why; see the keys of cluster\n"),
    ],
)
def test_a_refused_job_leaves_no_run_behind(home, commands, capsys, said, line):
    commands.make("sbatch", err=said, code=1)
    assert main(["launch", "iris_disc", "cluster=slurm", "cluster.partition=gpuu"]) == 1
    assert capsys.readouterr().err == line
    assert list(home.glob("runs/*/*")) == []


def test_without_slurm_a_line_says_so(home, commands, capsys):
    assert main(["launch", "iris_disc", "cluster=slurm"]) == 1
    assert capsys.readouterr().err.startswith("ugmm: error: there is no sbatch here: launch where")
    assert list(home.glob("runs/*/*")) == []


def test_uncommitted_changes_are_kept_as_a_patch(home, commands, monkeypatch, tmp_path):
    """Applied to a clone of the commit, it makes the same files: changed, staged, new, removed."""
    commands.make("sbatch", out="17\n")
    source = tmp_path / "source"

    def git(*arguments, at=source):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *identity, "-C", str(at), *arguments], check=True)

    source.mkdir()
    git("init", "--quiet")
    package = source / "ugmm"
    package.mkdir()
    for name in ("changed", "staged", "removed"):
        (package / f"{name}.py").write_text("before\n")
    (source / ".gitignore").write_text("runs/\n")
    git("add", "--all")
    git("commit", "--quiet", "-m", "first")
    git("clone", "--quiet", str(source), str(tmp_path / "clone"))
    (package / "changed.py").write_text("after\n")
    (package / "staged.py").write_text("after\n")
    (package / "staged anew.py").write_text("after\n")
    git("add", "ugmm/staged.py", "ugmm/staged anew.py")
    (package / "new.bin").write_bytes(b"\0\xff")
    (package / "removed.py").unlink()
    (source / "runs").mkdir()
    (source / "runs" / "ignored").touch()

    monkeypatch.setattr(ugmm.launch.patch.ugmm, "__file__", str(package / "__init__.py"))
    assert main(["launch", "iris_disc", "cluster=slurm"]) == 0
    git("apply", str(home / launched(home).folder / "uncommitted.patch"), at=tmp_path / "clone")
    for path in package.iterdir():
        copied = tmp_path / "clone" / "ugmm" / path.name
        assert copied.read_bytes() == path.read_bytes()
    assert not (tmp_path / "clone" / "ugmm" / "removed.py").exists()
    git("diff", "--cached", "--quiet", "--", "ugmm/changed.py")  # what was staged is as it was

    git("add", "--all")
    git("commit", "--quiet", "-m", "second")
    for folder in home.glob("runs/*/*"):
        folder.rename(tmp_path / "first-run")
    assert main(["launch", "iris_disc", "cluster=slurm"]) == 0
    assert not (launched(home).folder / "uncommitted.patch").exists()


def test_a_damaged_record_of_jobs_is_one_line(home, commands, capsys):
    commands.make("sbatch", out="17\n")
    assert main(["launch", "iris_disc", "cluster=slurm"]) == 0
    path = launched(home).folder / "jobs.json"
    record = json.loads(path.read_text())["jobs"][0]
    assert time.strptime(record["submitted"], "%Y-%m-%dT%H:%M:%S%z")
    path.write_text('{"jobs": [17]}')
    with pytest.raises(ugmm.errors.UserError, match=r"jobs.json is damaged .*remove it"):
        read_jobs(path.parent)
