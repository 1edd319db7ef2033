"""Jobs that `ugmm launch` submits to two nodes: what they train, and how they are looked after."""

import pytest
import torch
from head import final_weights
from slurm_cluster import PATIENCE

from waiting import wait_until

pytestmark = pytest.mark.slurm

TWO_NODES = ("cluster=slurm", "cluster.nodes=2")
SGD = ("optimizer.name=sgd", "optimizer.lr=0.1", "trainer.precision=64-true")
SMALL = (
    "model.hidden=[16]",
    "data.batch_size=64",
    *(f"trainer.limit_{split}_batches=4" for split in ("train", "val", "test")),
)
ABLATION = """\
experiment: iris_disc
seeds: [0, 1]
set: {trainer.accelerator: cpu, trainer.max_epochs: 2, trainer.check_val_every_n_epoch: 2}
variants:
  narrow: {}
  wide: {"model.hidden": [12, 6]}
"""


@pytest.mark.parametrize(
    ("experiment", "settings"),
    [("iris_disc", ("data.batch_size=48", "model.dropout=0.3")), ("mnist_disc", SMALL)],
    ids=["iris", "mnist"],
)
def test_two_nodes_train_the_weights_of_one_process(head, train, experiment, settings):
    settings = (*settings, *SGD, "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=2")
    alone = train(experiment, *settings)
    job, run = head.launch(experiment, *TWO_NODES, *settings)
    assert head.finish(job) == "COMPLETED", head.output
    expected, weights = final_weights(alone), final_weights(run)
    for name in expected:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-10, atol=1e-10)
    for name, value in alone.read_summary().items():
        if name != "seconds":
            assert run.read_summary()[name] == pytest.approx(value, rel=1e-6), name


def test_an_array_runs_the_points_of_an_ablation_so_many_at_a_time(head):
    (head.folder / "tiny.yaml").write_text(ABLATION)
    said = head.ugmm("launch", "tiny.yaml", "cluster=slurm", "cluster.array_limit=2")
    running = []

    def ended():
        running.append(len(head.run("squeue", "--noheader", "--states=RUNNING").splitlines()))
        return not head.run("squeue", "--noheader")

    wait_until(ended, PATIENCE)
    assert 1 <= max(running) <= 2, said
    assert len(head.runs()) == 4, head.output
    assert all(run.has_ended for run in head.runs())


def test_status_logs_and_cancel(head):
    job, run = head.launch("iris_disc", *TWO_NODES, "trainer.max_epochs=1000000")
    wait_until(run.last.is_file, PATIENCE)
    status = head.ugmm("status")
    assert job in status
    assert "running" in status
    assert "Initializing distributed" in head.ugmm("logs", str(run.folder))
    head.ugmm("cancel", str(run.folder))
    assert head.finish(job) == "CANCELLED", head.output
    assert "running" not in head.ugmm("status")
