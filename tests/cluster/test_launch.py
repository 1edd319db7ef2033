"""Lightning is told how processes were started, and settings that do not fit are one line."""

import pytest

from ugmm.cli import main
from ugmm.cluster.launch import check_launch, launch_environment
from ugmm.errors import UserError

SHELL = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}
STEP = {
    **SHELL,
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "abc",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
}


@pytest.fixture
def environment(monkeypatch):
    for name in {**STEP, **TORCHRUN, "SLURM_NTASKS_PER_NODE": ""}:
        monkeypatch.setenv(name, "")  # so that whatever is set in its place is undone
        monkeypatch.delenv(name)

    def set_all(values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


def test_a_run_and_its_test_in_a_shell_within_slurm(environment, train):
    environment(SHELL)
    run = train("iris_disc", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1")
    assert run.read_summary()
    assert main(["eval", str(run.folder)]) == 0


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "LightningEnvironment"),
        (SHELL, "LightningEnvironment"),
        (STEP, "SLURMEnvironment"),
        (TORCHRUN, "TorchElasticEnvironment"),
        ({**STEP, **TORCHRUN}, "TorchElasticEnvironment"),
    ],
)
def test_lightning_is_told_of_the_launcher(environment, values, name):
    environment(values)
    found = launch_environment()
    assert type(found).__name__ == name
    if values:
        found.validate_settings(num_devices=2, num_nodes=2)


@pytest.mark.parametrize("launcher", [STEP, TORCHRUN, {**SHELL, **TORCHRUN}])
@pytest.mark.parametrize(
    ("devices", "nodes", "line"),
    [
        (2, 2, None),
        ("auto", 2, r"trainer\.devices=auto: .* has started 2 .* set trainer\.devices=2"),
        (3, 2, r"trainer\.devices=3: .* has started 2 .* set trainer\.devices=2"),
        (2, 1, r"trainer\.num_nodes=1: .* on 2 node\(s\); set trainer\.num_nodes=2"),
    ],
)
def test_settings_that_a_launcher_does_not_fit(environment, launcher, devices, nodes, line):
    environment(launcher)
    if line is None:
        check_launch(devices, nodes, 1)
        return
    with pytest.raises(UserError, match=line):
        check_launch(devices, nodes, 1)


def test_auto_stands_for_all_gpus_of_a_node(environment):
    environment(STEP)
    check_launch("auto", 2, present=2)


def test_uneven_nodes_are_one_line(environment):
    environment({**STEP, "SLURM_STEP_TASKS_PER_NODE": "3,1"})
    with pytest.raises(UserError, match="--ntasks-per-node"):
        check_launch(2, 2, 1)


@pytest.mark.parametrize("values", [{}, SHELL])
def test_several_nodes_need_a_launcher(environment, values):
    environment(values)
    with pytest.raises(UserError, match="needs a launcher on every node"):
        check_launch("auto", 2, 1)
