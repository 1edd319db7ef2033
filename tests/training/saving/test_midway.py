"""A run that is told to stop in the midst of an epoch ends, resumed, as an unbroken one would."""

import math
import os
import signal
import time

import pytest
import torch

from ugmm.cli import main
from ugmm.runs import Run
from ugmm.tasks import Task

SETTINGS = (
    "trainer.accelerator=cpu", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2",
    "trainer.log_every_n_steps=1", "data.batch_size=8", "tracking.mode=disabled",
)  # fmt: skip
STEPS = 12  # in an epoch
# Noise of the contrast, dropout, averages that are or are not begun, gradients of several batches.
EXPERIMENTS = {
    "noise": ("iris_gen",),
    "dropout": ("iris_disc", "model.dropout=0.3", "data.noise=0.1", "schedule.name=one_cycle"),
    "ema": ("iris_disc", "model.dropout=0.3", "trainer.averaging.name=ema"),
    "swa": ("iris_gen", "trainer.averaging.name=swa", "trainer.averaging.start=0.5"),
    "accumulated": ("iris_disc", "trainer.accumulate_grad_batches=5"),
    "plateau": ("iris_disc", "schedule.name=plateau", "schedule.patience=0"),
    "early": ("iris_disc", "trainer.early_stopping.patience=1", "optimizer.lr=0.5"),
    "limits": ("iris_disc", "trainer.limit_train_batches=7", "model.dropout=0.2"),
    "numbers": ("diabetes_reg", "model.dropout=0.3", "data.batch_size=16"),
    "last": ("iris_disc", "trainer.test_checkpoint=last", "trainer.max_epochs=3"),
}


class Telling:
    """Sends this process a signal in some step of its training."""

    def __init__(self, patch):
        self.batch, self.number, self.count = math.inf, signal.SIGUSR1, 0
        loss = Task.training_step

        def step(task, batch, batch_idx):
            self.count += 1
            if self.count == self.batch:
                os.kill(os.getpid(), self.number)
            return loss(task, batch, batch_idx)

        patch.setattr(Task, "training_step", step)
        patch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])

    def train(self, runs, *overrides, batch=math.inf, number=signal.SIGUSR1):
        """Train from the start; return the exit code and the run."""
        self.batch, self.number, self.count = batch, number, 0
        code = main(["train", *overrides, *SETTINGS, *overrides[1:], f"runs_dir={runs}"])
        (folder,) = runs.glob("*/*")
        return code, Run.open(folder)

    def resume(self, run, batch=math.inf, number=signal.SIGUSR1):
        """Go on with a run; return the exit code."""
        self.batch, self.number, self.count = batch, number, 0
        return main(["train", "--resume", str(run.folder)])


@pytest.fixture
def telling(monkeypatch):
    return Telling(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Give unbroken runs, each of which is trained once."""
    kept = {}

    def whole(name):
        if name not in kept:
            with pytest.MonkeyPatch.context() as patch:
                code, run = Telling(patch).train(tmp_path_factory.mktemp(name), *EXPERIMENTS[name])
            assert code == 0
            kept[name] = run
        return kept[name]

    return whole


def check_equal(run, whole):
    assert {**run.read_summary(), "seconds": 0} == {**whole.read_summary(), "seconds": 0}
    assert run.metrics.read_text() == whole.metrics.read_text()
    for name in ("best", "last"):
        paths = [each.checkpoints / f"{name}.ckpt" for each in (run, whole)]
        if not paths[1].exists():
            continue
        one, two = (torch.load(path, weights_only=True) for path in paths)
        assert one["epoch"] == two["epoch"]
        assert one["global_step"] == two["global_step"]
        assert one["lr_schedulers"] == two["lr_schedulers"]
        for key in two["state_dict"]:
            assert torch.equal(one["state_dict"][key], two["state_dict"][key]), key
        for ours, theirs in zip(one["optimizer_states"], two["optimizer_states"], strict=True):
            for number, state in theirs["state"].items():
                for key, value in state.items():
                    assert torch.equal(ours["state"][number][key], value)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_ends_as_an_unbroken_run(name, telling, whole, tmp_path, capfd):
    """Stopped in its first epoch, and twice again after it has gone on."""
    expected = whole(name)
    code, run = telling.train(tmp_path, *EXPERIMENTS[name], batch=4)
    assert code == 128 + signal.SIGUSR1
    said = capfd.readouterr().err
    assert said == f"stopped; go on with: ugmm train --resume {run.folder}\n"
    assert torch.load(run.last, weights_only=True)["ugmm"]["batch"] in (4, 5)
    assert telling.resume(run, batch=1, number=signal.SIGTERM) == 128 + signal.SIGTERM
    assert telling.resume(run, batch=9, number=signal.SIGUSR2) == 128 + signal.SIGUSR2
    assert telling.resume(run) == 0
    check_equal(run, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_does_whenever_it_is_stopped(name, telling, whole, tmp_path):
    expected = whole(name)
    for batch in range(1, 2 * STEPS + 2):
        code, run = telling.train(tmp_path / str(batch), *EXPERIMENTS[name], batch=batch)
        assert code in (0, 138)
        assert telling.resume(run) == 0
        check_equal(run, expected)


def test_it_says_where_it_goes_on(telling, whole, tmp_path, capfd):
    _, run = telling.train(tmp_path, *EXPERIMENTS["dropout"], batch=STEPS + 5)
    checkpoint = torch.load(run.last, weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (1, 17)
    capfd.readouterr()
    assert telling.resume(run) == 0
    assert "going on after epoch 1, step 17\n" in capfd.readouterr().out


def test_in_the_last_step_of_an_epoch_it_stops_at_its_end(telling, whole, tmp_path, capfd):
    """With its validation, or without."""
    for batch, epochs in ((STEPS, 1), (2 * STEPS, 2), (4 * STEPS, 4)):
        runs = tmp_path / str(epochs)
        code, run = telling.train(runs, *EXPERIMENTS["dropout"], batch=batch)
        assert code == 138
        assert torch.load(run.last, weights_only=True)["ugmm"]["batch"] is None
        capfd.readouterr()
        assert telling.resume(run) == 0
        assert f"going on after epoch {epochs}\n" in capfd.readouterr().out
        check_equal(run, whole("dropout"))


def test_before_the_end_of_its_job_it_stops(telling, whole, tmp_path, monkeypatch, capfd):
    """With a margin; here the whole time of the job."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text("#!/bin/sh\necho JobState=RUNNING Requeue=0 BatchFlag=1\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) - 1))  # over when it begins
    code, run = telling.train(tmp_path / "runs", *EXPERIMENTS["dropout"])
    assert code == 128 + signal.SIGTERM
    assert "stopped; go on with" in capfd.readouterr().err
    assert torch.load(run.last, weights_only=True)["ugmm"]["batch"] is not None
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 10_000))
    assert telling.resume(run) == 0
    check_equal(run, whole("dropout"))
