"""A job that is told to make way, or loses a node, ends with the weights of one that was not."""

import time
from typing import NamedTuple

import pytest
import torch
from head import Head, final_weights
from slurm_cluster import PATIENCE

from ugmm.runs import Run
from waiting import wait_until

pytestmark = pytest.mark.slurm

A_STEP = "0.2"  # seconds, of the second rank
STEPS = 12  # in an epoch: 96 rows in batches of 8
SETTINGS = (
    "iris_disc",
    "cluster=slurm",
    "cluster.nodes=2",
    "data.batch_size=8",
    "model.dropout=0.3",
    "schedule.name=one_cycle",
    "trainer.max_epochs=12",
    "trainer.check_val_every_n_epoch=2",
    "trainer.log_every_n_steps=1",
)


class Unbroken(NamedTuple):
    """The run of a job that nothing has disturbed, and how long that took."""

    run: Run
    seconds: float


@pytest.fixture(scope="module")
def unbroken(cluster, tmp_path_factory):
    head = Head(cluster, tmp_path_factory.mktemp("unbroken"))
    start = time.monotonic()
    job, run = head.launch(*SETTINGS)
    assert head.finish(job) == "COMPLETED", head.output
    return Unbroken(run, time.monotonic() - start)


def assert_same(head, job, run, unbroken):
    """The job ends, and has done what the undisturbed one did."""
    assert head.finish(job) == "COMPLETED", head.output
    assert "Traceback" not in head.output
    assert run.metrics.read_bytes() == unbroken.run.metrics.read_bytes()
    one, two = final_weights(unbroken.run), final_weights(run)
    assert all(torch.equal(one[name], two[name]) for name in one)


def last_step(run):
    rows = run.read_metrics() if run.metrics.is_file() else []
    return rows[-1]["step"] if rows else 0


def wait_for_middle(run, after=0):
    """Wait until a run is in the middle of an epoch, past a step."""
    middle = range(3, 9)
    wait_until(lambda: (step := last_step(run)) > after and step % STEPS in middle, PATIENCE)


def test_a_signal_in_mid_epoch(head, unbroken, request):
    job, run = head.launch(*SETTINGS, SLOW=A_STEP)
    for restarts in range(request.config.getoption("preemptions")):
        wait_for_middle(run, last_step(run) + 3)
        head.run("scancel", "--signal=USR1", job)
        head.wait_for_restart(job, restarts + 1)
    assert_same(head, job, run, unbroken)


def test_a_time_limit(head, unbroken):
    minutes = 1 + int(unbroken.seconds / 30)  # half of which goes by before the run makes way
    limit = (f"cluster.time={minutes}", "cluster.margin=5", "trainer.grace=3600")
    job, run = head.launch(*SETTINGS, *limit, SLOW=str(0.3 * minutes))
    head.wait_for_restart(job)
    head.run("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    assert_same(head, job, run, unbroken)


def test_a_partition_of_higher_priority(head, unbroken):
    job, run = head.launch(*SETTINGS, SLOW=A_STEP)
    wait_for_middle(run)
    head.submit("sleep 1", options=["--partition=urgent"])
    head.wait_for_restart(job)
    assert_same(head, job, run, unbroken)


def test_a_node_that_is_gone(head, cluster, unbroken):
    job, run = head.launch(*SETTINGS, SLOW=A_STEP)
    wait_for_middle(run, 2 * STEPS)
    cluster.kill_node("n2")
    try:
        head.wait_for_restart(job)
    finally:
        cluster.start_node("n2")
    assert_same(head, job, run, unbroken)
