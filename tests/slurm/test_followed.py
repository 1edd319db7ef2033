"""docs/clusters.md, followed word by word on the cluster."""

import re
from pathlib import Path

import pytest
from head import Head
from slurm_cluster import PATIENCE

from ugmm.runs import Run
from waiting import wait_until

pytestmark = pytest.mark.slurm

PAGE = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
(SHOWN,) = re.findall(r"```console\n(\$ ugmm launch iris_gen .*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)", SHOWN, re.MULTILINE)


def test_the_page_can_be_followed_word_by_word(head: Head):
    launch, status, signal, logs = COMMANDS
    said = head.ugmm(*launch.split()[1:])
    job, folder = re.search(r"job (\d+): (\S+)", said).groups()
    run = Run.open(head.folder / folder)
    wait_until(lambda: len(run.read_metrics()) > 3, PATIENCE)
    table = head.ugmm(*status.split()[1:])
    assert "running" in table
    assert f"{job} RUNNING" in table

    head.run(*signal.split()[:-1], job)
    head.wait_for_restart(job)
    assert head.finish(job) == "COMPLETED", head.output
    written = head.ugmm(*logs.split()[1:])
    for line in re.findall(r"^(requeued job|going on after)", SHOWN, re.MULTILINE):
        assert line in written
    # It ends as the page's did: the last line of training is what is shown, but for digits.
    (shown,) = re.findall(r"^(epoch 1500/1500  train/loss \S{5})", SHOWN, re.MULTILINE)
    assert shown in written
    assert "finished" in head.ugmm(*status.split()[1:])
