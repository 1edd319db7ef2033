"""Which process leads, and how the processes of one launch find one folder."""

import threading

import pytest

from ugmm.cluster import processes
from ugmm.errors import UserError
from ugmm.runs import Run

# What Slurm sets for the shell of a job, and for each process of a step in it.
SHELL = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2"}
SRUN = {**SHELL, **STEP}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "abc"}
# Of a batch script, of an interactive job, in a step of one process, on the terminal of a step.
SHELLS = [
    SHELL,
    {**SRUN, "SLURM_STEP_ID": str(0xFFFFFFFA)},
    {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
    {**SRUN, "SLURM_PTY_PORT": "37435"},
]


@pytest.fixture
def environment(monkeypatch):
    names = ["RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"]
    names += ["SLURM_RESTART_COUNT", "UGMM_RUN_FOLDER", "SLURM_PTY_PORT", *SRUN]
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


def test_processes_that_lightning_starts_go_on_with_the_same_run(environment, make_run):
    environment(UGMM_RUN_FOLDER="")  # so that what is set in its place is undone
    first = make_run()
    assert processes.find_resumed(str(first.folder.parent)).folder == first.folder
    processes.tell_children(first)
    make_run()  # is newer
    environment(LOCAL_RANK=1)
    assert not processes.is_leading()
    assert processes.find_resumed(str(first.folder.parent)).folder == first.folder


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_shell_within_slurm_lightning_starts_the_processes(environment, make_run, shell):
    environment(**shell)
    assert processes.is_leading()
    assert processes.launch_id() is None
    environment(UGMM_RUN_FOLDER=make_run().folder, LOCAL_RANK=1)
    assert not processes.is_leading()


@pytest.mark.parametrize("name", ["train", "bash", "interactive"])
def test_a_step_is_one_whatever_its_job_is_called(environment, name):
    environment(**{**SRUN, "SLURM_JOB_NAME": name, "SLURM_PROCID": 1})
    assert processes.launch_id() == "slurm-17.0"
    assert not processes.is_leading()


@pytest.mark.parametrize(("launcher", "rank"), [(SRUN, "SLURM_PROCID"), (TORCHRUN, "RANK")])
def test_processes_of_a_launch_share_the_folder(environment, make_run, tmp_path, launcher, rank):
    environment(**{**launcher, rank: 0})
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


@pytest.mark.parametrize(
    ("launcher", "other"),
    [
        (TORCHRUN, {"TORCHELASTIC_RUN_ID": "other"}),
        ({**SHELL, **TORCHRUN}, {"SLURM_JOB_ID": "18"}),
        (SRUN, {"SLURM_STEP_ID": "1"}),
        (SRUN, {"SLURM_JOB_ID": "18"}),
        (SRUN, TORCHRUN),
    ],
)
def test_another_launch_has_another_folder(environment, make_run, tmp_path, launcher, other):
    environment(RANK=0, **launcher)
    processes.share_folder(make_run(), overrides(tmp_path))
    environment(**other)
    assert processes.find_run(overrides(tmp_path)) is None


def test_the_nodes_of_a_torchrun_launch_may_be_steps(environment):
    environment(**{**SRUN, **TORCHRUN})
    first = processes.launch_id()
    environment(SLURM_STEP_ID="1")
    assert processes.launch_id() == first


def test_an_id_is_no_path(environment):
    environment(TORCHELASTIC_RUN_ID="../a b")
    assert processes.launch_id() == "torchrun-.._a_b"


def test_a_requeued_job_continues_its_run(environment, make_run, tmp_path):
    environment(**SRUN)
    run = make_run()
    processes.share_folder(run, overrides(tmp_path))
    with pytest.raises(UserError, match=r"launch slurm-17\.0 has a run already"):
        processes.find_run(overrides(tmp_path))
    environment(SLURM_RESTART_COUNT=1)
    assert processes.find_run(overrides(tmp_path)).folder == run.folder.resolve()


def test_a_leader_that_never_comes_is_one_line(environment, monkeypatch, tmp_path):
    environment(**{**SRUN, "SLURM_PROCID": 1})
    monkeypatch.setattr(processes, "WAIT_SECONDS", 0.2)
    with pytest.raises(UserError, match="did the first process fail"):
        processes.find_run(overrides(tmp_path))


def test_torchrun_on_several_nodes_needs_an_id(environment):
    environment(TORCHELASTIC_RUN_ID="none", RANK=0)
    with pytest.raises(UserError, match="needs --rdzv-id"):
        processes.launch_id()
