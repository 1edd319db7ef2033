"""A run killed at any moment, wherever its folder lies then, ends as an unbroken one would."""

import shutil
from pathlib import Path

import pytest
import torch

from ugmm.cli import main
from ugmm.runs import Run
from ugmm.training.metrics_csv import MetricsCSV

# The metric rises and falls: the best epoch is the second, and the first is no good.
SETTINGS = (
    "trainer.accelerator=cpu", "trainer.max_epochs=7", "trainer.check_val_every_n_epoch=1",
    "optimizer.lr=0.5", "trainer.monitor=val/nll", "tracking.mode=disabled", "seed=2",
)  # fmt: skip
KEPT = ("config.yaml", "spec.json", "metrics.csv")


class Witness:
    """Copies a run folder at each moment at which it may be left by a process that is killed.

    That is after each file takes its place, and after each line is written. Nothing of the process
    goes into a copy, so that it is what SIGKILL would leave.
    """

    def __init__(self, runs, copies, patch):
        self.runs, self.copies, self.moments = runs, copies, []
        patch.setattr(Path, "replace", self.copying_after(Path.replace))
        patch.setattr(MetricsCSV, "log_metrics", self.copying_after(MetricsCSV.log_metrics))

    def copying_after(self, change):
        def changed(*arguments, **keywords):
            change(*arguments, **keywords)
            for folder in self.runs.glob("*/*"):
                copy = self.copies / f"{len(self.moments):03}" / folder.name
                self.moments.append(Path(shutil.copytree(folder, copy)))

        return changed


def train_seen(tmp_path_factory, *overrides):
    """Train; return the run, and a copy of its folder at each moment."""
    runs, copies = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("copies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
        witness = Witness(runs, copies, patch)
        assert main(["train", "iris_disc", f"runs_dir={runs}", *SETTINGS, *overrides]) == 0
    (folder,) = runs.glob("*/*")
    whole = [moment for moment in witness.moments if (moment / "config.yaml").is_file()]
    return Run.open(folder), whole


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return train_seen(tmp_path_factory)


def check_equal(run, whole):
    resumed, expected = run.read_summary(), whole.read_summary()
    assert {**resumed, "seconds": 0} == {**expected, "seconds": 0}
    for name in KEPT:
        assert (run.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    for path in whole.checkpoints.iterdir():
        one, two = (torch.load(r.checkpoints / path.name, weights_only=True) for r in (run, whole))
        assert one["epoch"] == two["epoch"]
        assert one["ugmm"]["validation"] == two["ugmm"]["validation"]
        assert one["lr_schedulers"] == two["lr_schedulers"]
        averaged = [each.get("averaging", {}).get("weights", {}) for each in (one, two)]
        assert all(torch.equal(averaged[0][name], t) for name, t in averaged[1].items())
        for name, weights in two["state_dict"].items():
            assert torch.equal(one["state_dict"][name], weights)
    left = {p.relative_to(run.folder) for p in run.folder.rglob("*") if p.is_file()}
    assert left == {p.relative_to(whole.folder) for p in whole.folder.rglob("*") if p.is_file()}


def resume_all(moments, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
    for moment in moments:
        # Copied twice: whatever a checkpoint says of paths is of no use.
        run = Run.open(shutil.copytree(moment, tmp_path / moment.parent.name / moment.name))
        assert main(["train", "--resume", str(run.folder)]) == 0, moment
        check_equal(run, whole)


def test_the_best_is_not_the_last(seen):
    whole, _ = seen
    summary = whole.read_summary()
    assert summary["tested_epoch"] == 2
    assert summary["val/nll"] == pytest.approx(1.05601, abs=1e-5)
    assert summary["test/accuracy"] == pytest.approx(0.4333, abs=1e-4)


def test_killed_around_the_best_epoch_and_the_next(seen, tmp_path, monkeypatch):
    whole, moments = seen
    epochs = [[row["epoch"] for row in Run(moment).read_metrics()] for moment in moments]
    near = [m for m, e in zip(moments, epochs, strict=True) if e and 1 <= e[-1] <= 2]
    # Of each epoch two lines, last.ckpt as it moves, and as a new one comes; best.ckpt of one.
    assert len(near) == 9
    resume_all(near, whole, tmp_path, monkeypatch)


@pytest.mark.slow
def test_killed_at_any_moment(seen, tmp_path, monkeypatch):
    whole, moments = seen
    assert len(moments) > 25
    resume_all(moments, whole, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.test_checkpoint=last",),
        ("trainer.test_checkpoint=last", "data.val_fraction=0"),
        ("trainer.check_val_every_n_epoch=3", "trainer.monitor=val/accuracy"),
    ],
)
def test_killed_with_other_checkpoints(tmp_path_factory, tmp_path, monkeypatch, overrides):
    whole, moments = train_seen(tmp_path_factory, *overrides)
    resume_all([moments[len(moments) // 2]], whole, tmp_path, monkeypatch)


AVERAGING = "trainer.averaging.name"
OPTIONS = {
    "ema": (f"{AVERAGING}=ema", "trainer.averaging.decay=0.9"),
    "swa": (f"{AVERAGING}=swa", "trainer.averaging.start=0.3"),
    "plateau": ("schedule.name=plateau", "schedule.patience=0", "schedule.gamma=0.5"),
    "limits": ("data.batch_size=16", "trainer.limit_train_batches=3"),
    "early": ("trainer.early_stopping.patience=2",),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_killed_with_what_is_off_by_default(tmp_path_factory, tmp_path, monkeypatch, option):
    whole, moments = train_seen(tmp_path_factory, *OPTIONS[option])
    last = torch.load(whole.last, weights_only=True)["epoch"]
    assert last == (3 if option == "early" else 6)
    resume_all([last_of(moments, epoch) for epoch in (2, last)], whole, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_killed_at_any_moment_with_it(tmp_path_factory, tmp_path, monkeypatch, option):
    whole, moments = train_seen(tmp_path_factory, *OPTIONS[option])
    resume_all(moments, whole, tmp_path, monkeypatch)


def last_of(moments, epoch):
    """The folder as of the moment at which an epoch's last checkpoint was there."""
    return next(
        moment
        for moment in moments
        if (last := Run(moment).last).is_file()
        and torch.load(last, weights_only=True)["epoch"] == epoch
    )


def test_a_run_of_an_earlier_version_goes_on(seen, tmp_path, monkeypatch):
    """Its checkpoints say nothing of the validation, but metrics.csv does."""
    whole, moments = seen
    run = Run.open(shutil.copytree(last_of(moments, 2), tmp_path / "earlier"))
    for path in run.checkpoints.iterdir():
        checkpoint = torch.load(path, weights_only=True)
        for key in ("run_id", "validation", "best_epoch"):
            del checkpoint["ugmm"][key]
        checkpoint["ugmm"]["format"] = 1
        torch.save(checkpoint, path)
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert {**run.read_summary(), "seconds": 0} == {**whole.read_summary(), "seconds": 0}


@pytest.mark.parametrize("replaced", [False, True])
def test_a_best_checkpoint_that_is_gone_is_missed(seen, tmp_path, capfd, replaced):
    _, moments = seen
    run = Run.open(shutil.copytree(last_of(moments, 2), tmp_path / "run"))
    run.best.unlink()
    if replaced:  # by an earlier one
        shutil.copyfile(Run(last_of(moments, 0)).best, run.best)
    assert main(["train", "--resume", str(run.folder)]) == 1
    error = capfd.readouterr().err
    assert f"no checkpoint at {run.best} that is of epoch 2" in error
    assert error.count("\n") == 1
