"""A run that is killed can be resumed, and ends as an uninterrupted one would have."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from waiting import wait_until

EPOCHS = 24
STEPS = 12  # in an epoch: 96 rows in batches of 8
SETTINGS = (
    "data.batch_size=8",
    "model.dropout=0.3",
    "schedule.name=one_cycle",
    f"trainer.max_epochs={EPOCHS}",
    "trainer.check_val_every_n_epoch=2",
    "trainer.log_every_n_steps=1",
)


def wait_for_epoch(command, epoch, process, before=()):
    """Return the run that is not among those before, once it is in the middle of an epoch."""
    known = {run.folder for run in before}
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        for run in command.all_runs():
            rows = run.read_metrics() if run.folder not in known and run.last.is_file() else []
            if rows and rows[-1]["epoch"] >= epoch and rows[-1]["step"] % STEPS in (3, 4, 5, 6):
                return run
        time.sleep(0.005)
    process.kill()
    raise AssertionError(f"epoch {epoch} was not seen: {process.communicate()}")


def test_sigkill_then_resume_equals_an_unbroken_run(ugmm_command):
    ugmm_command("train", "iris_disc", *SETTINGS)
    (whole,) = ugmm_command.all_runs()
    process = ugmm_command.start("train", "iris_disc", *SETTINGS)
    killed = wait_for_epoch(ugmm_command, 11, process, before=[whole])
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert killed.read_summary() == {}
    resumed_from = torch.load(killed.last, weights_only=True)["epoch"]
    assert 0 < resumed_from < EPOCHS - 1
    assert killed.read_metrics()[-1]["epoch"] > resumed_from  # later work, to be done again

    ugmm_command("train", "--resume", str(killed.folder))
    assert killed.metrics.read_bytes() == whole.metrics.read_bytes()
    one, two = (torch.load(r.last, weights_only=True)["state_dict"] for r in (killed, whole))
    assert all(torch.equal(one[name], two[name]) for name in two)
    same, expected = killed.read_summary(), whole.read_summary()
    assert {**same, "seconds": 0} == {**expected, "seconds": 0}


def test_sigkill_before_the_first_checkpoint(ugmm_command):
    process = ugmm_command.start("train", "iris_disc", *SETTINGS)
    while not ugmm_command.all_runs():
        time.sleep(0.02)
    process.kill()
    process.communicate()
    (run,) = ugmm_command.all_runs()
    ugmm_command("train", "--resume", str(run.folder))
    assert run.read_summary()["steps"] == EPOCHS * STEPS


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(
            pytest.param(number, marks=pytest.mark.slow)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1)
        ),
    ],
)
def test_a_signal_ends_a_run_cleanly_and_resuming_continues_the_tracked_run(
    ugmm_command, inspect, number
):
    offline = {"WANDB_MODE": "offline"}
    process = ugmm_command.start("train", "iris_disc", *SETTINGS, **offline)
    run = wait_for_epoch(ugmm_command, 10, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out + err
    assert "Traceback" not in out + err
    assert f"ugmm train --resume {run.folder}" in err
    state = inspect(run)
    assert state["exit_code"] == 128 + number
    assert state["summary"]["val/accuracy"]["max"] > 0  # what was logged is there

    ugmm_command("train", "--resume", str(run.folder), **offline)
    resumed = inspect(run)
    assert resumed["run_id"] == state["run_id"] == run.id
    assert resumed["exit_code"] == 0
    assert resumed["summary"]["steps"] == EPOCHS * STEPS
    assert len(list(run.folder.glob("wandb/offline-run-*"))) == 2  # W&B merges them by their id


def test_sigterm_ends_all_processes_of_a_run(ugmm_command):
    ddp = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=10000")
    process = ugmm_command.start_anew("train", "iris_disc", *SETTINGS, *ddp)
    wait_for_epoch(ugmm_command, 2, process)
    (child,) = children(process.pid)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 30)


DDP = (
    *("data.batch_size=8", "trainer.max_epochs=8", "trainer.check_val_every_n_epoch=2"),
    *("trainer.log_every_n_steps=1", "trainer.devices=2", "trainer.strategy=ddp"),
)
# One of two processes takes its time over every step, as one on a busy machine does.
SLOW = """
import os, time
from ugmm.tasks import Task
step = Task.training_step

def slow(task, batch, batch_idx):
    time.sleep(0.05 if task.global_rank == {rank} else 0)
    return step(task, batch, batch_idx)

Task.training_step = slow
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "number", "slow"),
    [("leading", signal.SIGTERM, 1), ("other", signal.SIGUSR1, 0), ("all", None, 1)],
)
def test_two_uneven_processes_stop_together_wherever_the_signal_goes(
    ugmm_command, tmp_path, to, number, slow
):
    """As soon as both have done the same step; and what goes on ends as an unbroken run."""
    ugmm_command("train", "iris_disc", *DDP)
    (whole,) = ugmm_command.all_runs()
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW.format(rank=slow))
    process = ugmm_command.start_anew("train", "iris_disc", *DDP, f"--plugin={plugin}")
    run = wait_for_epoch(ugmm_command, 3, process, before=[whole])
    (child,) = children(process.pid)
    for pid in {"leading": [process.pid], "other": [child], "all": [child, process.pid]}[to]:
        # Slurm's warning and its SIGTERM may come at once.
        for each in (number,) if number else (signal.SIGUSR2, signal.SIGTERM):
            os.kill(int(pid), each)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 50  # of a busy machine; far less than a timeout's
    assert process.returncode == 128 + (number or signal.SIGUSR2), out + err
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 30)
    assert "Traceback" not in err
    assert err.count("stopped; go on with: ") == 1, err
    assert f"ugmm train --resume {run.folder} --plugin={plugin}" in err
    saved = torch.load(run.last, weights_only=True)
    assert saved["ugmm"]["batch"] is not None
    assert run.read_metrics()[-1]["step"] == saved["global_step"] - 1  # no step was done twice

    resumed = ugmm_command.start_anew("train", "--resume", str(run.folder), f"--plugin={plugin}")
    out, err = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, out + err
    assert f"going on after epoch {saved['epoch']}, step {saved['global_step']}\n" in out
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()
    assert {**run.read_summary(), "seconds": 0} == {**whole.read_summary(), "seconds": 0}
    one, two = (torch.load(r.last, weights_only=True)["state_dict"] for r in (run, whole))
    assert all(torch.equal(one[name], two[name]) for name in two)


def children(pid):
    """Return the processes that a process has started to train beside it."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [p for p in tasks if "ugmm" in Path(f"/proc/{p}/cmdline").read_text()]
