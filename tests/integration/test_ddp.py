"""Two processes with half a batch each do what one process does with all of it."""

import pytest
import torch

from waiting import wait_until

SGD = ("optimizer.name=sgd", "data.batch_size=48", "trainer.log_every_n_steps=1")
# Two batches an epoch; 71 rows to validate on and 89 to test, which are odd for two processes.
UNEVEN = ("data.batch_size=128",)
DDP = ("trainer.devices=2", "trainer.strategy=ddp")


def final_weights(run):
    state = torch.load(run.last, weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in state.items() if name.startswith("network.")}


@pytest.mark.parametrize(
    ("experiment", "lr", "other"), [("iris_disc", 0.1, ()), ("diabetes_reg", 0.1, UNEVEN)]
)
def test_one_run_and_the_same_weights_after_ten_steps_in_float64(
    ugmm_command, inspect, experiment, lr, other
):
    settings = (
        *SGD,
        *other,
        f"optimizer.lr={lr}",
        "trainer.precision=64-true",
        "trainer.max_epochs=5",
    )
    settings += ("trainer.check_val_every_n_epoch=2",)
    ugmm_command("train", experiment, *settings, "trainer.devices=1")
    output = ugmm_command("train", experiment, *settings, *DDP, WANDB_MODE="offline")
    one, two = ugmm_command.all_runs()

    assert output.count("run folder:") == 1
    measured = next(name for name in two.read_metrics()[0] if name.startswith("val/"))
    rows = [row for row in two.read_metrics() if row[measured] is not None]
    assert [row["epoch"] for row in rows] == [1, 3]
    assert len(list(ugmm_command.runs.rglob("offline-run-*"))) == 1
    assert inspect(two)["exit_code"] == 0

    assert one.read_summary()["steps"] == two.read_summary()["steps"] == 10
    expected, weights = final_weights(one), final_weights(two)
    for name in expected:
        assert expected[name].dtype == torch.float64
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-10, atol=1e-10)
    for name, value in one.read_summary().items():
        if name != "seconds":
            assert two.read_summary()[name] == pytest.approx(value, rel=1e-6), name
    answers = two.read_predictions()
    for name, column in one.read_predictions().items():
        exact = isinstance(column[0], str)
        assert answers[name] == (column if exact else pytest.approx(column, rel=1e-4)), name


def test_a_batch_that_cannot_be_divided_is_one_line(ugmm_command):
    output = ugmm_command("train", "iris_disc", "data.batch_size=9", *DDP, code=1)
    assert "data.batch_size=9 cannot be divided among 2 devices" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_as_one_run(ugmm_command):
    settings = ("data.batch_size=8", "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=1")
    ugmm_command("train", "iris_disc", *settings, *DDP)
    (whole,) = ugmm_command.all_runs()
    process = ugmm_command.start_anew("train", "iris_disc", *settings, *DDP)
    wait_until(lambda: any(run.last.is_file() for run in ugmm_command.all_runs()[1:]))
    process.kill()
    killed = ugmm_command.all_runs()[1]
    process.communicate()  # the second process ends when it misses the first

    resumed = ugmm_command.start_anew("train", "--resume", str(killed.folder))
    out, err = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, out + err
    assert out.count("going on after epoch") == out.count("run folder:") == 1
    assert killed.metrics.read_bytes() == whole.metrics.read_bytes()
    assert {**killed.read_summary(), "seconds": 0} == {**whole.read_summary(), "seconds": 0}
