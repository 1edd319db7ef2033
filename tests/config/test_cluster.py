"""Where jobs run: what the shipped choices say, and what a user's own files may."""

from pathlib import Path

import pytest

from ugmm.config.cluster import SlurmConfig, TorchrunConfig, compose_cluster
from ugmm.errors import UserError

SHIPPED = sorted(path.stem for path in Path(__file__).parents[2].glob("configs/cluster/*.yaml"))


@pytest.mark.parametrize("choice", [*SHIPPED, "slurm", "torchrun"])
def test_every_shipped_choice_can_be_chosen(choice):
    assert compose_cluster([f"cluster={choice}"]).name in ("slurm", "torchrun")


def test_a_file_of_ones_own_is_a_choice_whose_keys_can_be_set(tmp_path):
    path = tmp_path / "configs" / "cluster" / "ours.yaml"
    path.parent.mkdir(parents=True)
    path.write_text('name: slurm\npartition: long\nnodes: 4\nsetup: ["export A=${HOME}"]\n')
    found = compose_cluster(["cluster.nodes=2", "cluster=ours", "cluster.time=9:30:00"], tmp_path)
    assert isinstance(found, SlurmConfig)
    assert (found.partition, found.nodes, found.time) == ("long", 2, "9:30:00")
    assert found.setup == ["export A=${HOME}"]  # the shell's, and no key of ours

    path.write_text("name: slurm\nnode: 4\n")
    with pytest.raises(UserError, match=r"ours.yaml: unknown key 'cluster.node'; did you mean"):
        compose_cluster(["cluster=ours"], tmp_path)
    path.write_text("nodes: 4\n")
    with pytest.raises(UserError, match=r"ours.yaml: cluster.name must be one of slurm, torchrun"):
        compose_cluster(["cluster=ours"], tmp_path)


def test_hosts_say_how_many_machines_there_are():
    found = compose_cluster(["cluster=torchrun", "cluster.hosts=[a, b, c]"])
    assert isinstance(found, TorchrunConfig)
    assert (found.nodes, compose_cluster(["cluster=torchrun"]).nodes) == (3, 1)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 90 * 60),
        ("90:30", 90 * 60 + 30),
        ("12:00:05", 12 * 3600 + 5),
        ("2-00", 2 * 86_400),
        ("2-12:30", 2 * 86_400 + 12 * 3600 + 30 * 60),
        ("2-12:30:07", 2 * 86_400 + 12 * 3600 + 30 * 60 + 7),
    ],
)
def test_times_are_those_that_sbatch_takes(time, seconds):
    found = compose_cluster(["cluster=slurm", f"cluster.time={time}", "cluster.margin=65535"])
    assert isinstance(found, SlurmConfig)
    assert found.time == time
    assert found.notice == min(65_535, seconds // 2)


def test_a_short_job_is_told_of_its_end_at_half_time():
    for time, notice in (("", 120), ("2-00", 120), ("4", 120), ("2", 60), ("0:20", 10)):
        found = compose_cluster(["cluster=slurm", *([f"cluster.time={time}"] * bool(time))])
        assert isinstance(found, SlurmConfig)
        assert found.notice == notice


@pytest.mark.parametrize("time", ["1h", "12:0:0", "2-", "1:2:3:4", "-5", "UNLIMITED"])
def test_other_times_are_refused(time):
    with pytest.raises(UserError, match=r"cluster.time=.* is no time; give minutes"):
        compose_cluster(["cluster=slurm", f"cluster.time={time}"])
