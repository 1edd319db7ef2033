"""What docs/clusters.md shows is so: its script, its example of a cluster, its keys."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from ugmm.cli import main
from ugmm.config.cluster import SlurmConfig, compose_cluster
from ugmm.config.compose import compose

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
TRAININGS = re.findall(r"^\$ ugmm train ([^#\n]*)", PAGE, re.MULTILINE)


def test_the_script_is_the_one_that_is_shown(tmp_path, monkeypatch, capsys):
    (command, script) = re.search(r"^\$ ugmm (.* --dry-run)\n((?:.*\n)*?)```", PAGE, re.M).groups()
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 0
    assert capsys.readouterr().out.replace(str(tmp_path), "/project/ugmm") == script


def test_the_example_of_a_cluster_is_one(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    folder = tmp_path / "configs" / "cluster"
    folder.mkdir(parents=True)
    (folder / "ours.yaml").write_text(example)
    cluster = compose_cluster(["cluster=ours", "cluster.nodes=2"], tmp_path)
    assert (cluster.nodes, cluster.processes, cluster.account) == (2, 8, "physics")


def test_all_keys_of_a_cluster_are_told():
    (table,) = re.findall(r"^\| key \|.*\n((?:\|.*\n)*)", PAGE, re.MULTILINE)
    told = set(re.findall(r"`(\w+)`", table))
    assert told >= {field.name for field in fields(SlurmConfig)} - {"name"}


@pytest.mark.parametrize("command", TRAININGS)
def test_its_settings_are_taken(command):
    experiment, *settings = shlex.split(command)
    assert compose(experiment, settings).experiment == experiment
