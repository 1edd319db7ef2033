"""Which process leads, and how the processes of one launch find one folder."""

import threading

import pytest

from ugmm.cluster import processes
from ugmm.errors import UserError
from ugmm.runs import Run

SRUN = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "train"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "abc"}


@pytest.fixture
def environment(monkeypatch):
    names = ["RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"]
    names += ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_JOB_NAME"]
    names += ["SLURM_RESTART_COUNT", "UGMM_RUN_FOLDER"]
    for name in names:
        monkeypatch.delenv(name, raising=False)

    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return set_all


@pytest.fixture
def make_run(tmp_path):
    def make_run():
        run = Run.create(tmp_path / "runs", "group", "name")
        run.freeze("seed: 0\n")
        return run

    return make_run


def overrides(tmp_path):
    return ["seed=1", f"runs_dir={tmp_path}/runs"]


def test_alone(environment, tmp_path):
    assert processes.is_leading()
    assert processes.launch_id() is None
    assert processes.find_run(overrides(tmp_path)) is None


def test_a_process_that_lightning_started_reads_the_environment(environment, make_run, tmp_path):
    run = make_run()
    environment(UGMM_RUN_FOLDER=run.folder, LOCAL_RANK=1)
    assert not processes.is_leading()
    assert processes.find_run(overrides(tmp_path)).folder == run.folder


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_in_a_shell_within_slurm_lightning_starts_the_processes(environment, make_run, name):
    environment(**{**SRUN, "SLURM_JOB_NAME": name, "SLURM_PROCID": 0})
    assert processes.is_leading()
    assert processes.launch_id() is None
    environment(UGMM_RUN_FOLDER=make_run().folder, LOCAL_RANK=1)
    assert not processes.is_leading()


@pytest.mark.parametrize(("launcher", "rank"), [(SRUN, "SLURM_PROCID"), (TORCHRUN, "RANK")])
def test_processes_of_a_launch_share_the_folder(environment, make_run, tmp_path, launcher, rank):
    environment(**launcher, **{rank: 0})
    settings = overrides(tmp_path)
    assert processes.is_leading()
    assert processes.find_run(settings) is None
    run = make_run()
    environment(**{rank: 1})
    assert not processes.is_leading()
    found = []
    waiting = threading.Thread(target=lambda: found.append(processes.find_run(settings)))
    waiting.start()
    processes.share_folder(run, settings)
    waiting.join(10)
    assert found[0].folder == run.folder.resolve()


def test_another_launch_has_another_folder(environment, make_run, tmp_path):
    environment(**TORCHRUN, RANK=0)
    processes.share_folder(make_run(), overrides(tmp_path))
    environment(TORCHELASTIC_RUN_ID="other")
    assert processes.find_run(overrides(tmp_path)) is None


def test_a_requeued_job_continues_its_run(environment, make_run, tmp_path):
    environment(**SRUN, SLURM_PROCID=0)
    run = make_run()
    processes.share_folder(run, overrides(tmp_path))
    with pytest.raises(UserError, match="launch slurm-17 has a run already"):
        processes.find_run(overrides(tmp_path))
    environment(SLURM_RESTART_COUNT=1)
    assert processes.find_run(overrides(tmp_path)).folder == run.folder.resolve()


def test_a_leader_that_never_comes_is_one_line(environment, monkeypatch, tmp_path):
    environment(**SRUN, SLURM_PROCID=1)
    monkeypatch.setattr(processes, "WAIT_SECONDS", 0.2)
    with pytest.raises(UserError, match="did the first process fail"):
        processes.find_run(overrides(tmp_path))


def test_torchrun_on_several_nodes_needs_an_id(environment):
    environment(TORCHELASTIC_RUN_ID="none", RANK=0)
    with pytest.raises(UserError, match="needs --rdzv-id"):
        processes.launch_id()
