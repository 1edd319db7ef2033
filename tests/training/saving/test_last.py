"""When the checkpoint to resume from is saved: what is asked for, and no more."""

import pytest
import torch

from ugmm.checkpoints import read_checkpoint
from ugmm.cli import main
from ugmm.training.saving import last
from ugmm.training.saving.agreement import Agreed, Agreement
from ugmm.training.saving.checkpoint import AtomicCheckpointIO
from ugmm.training.saving.rotation import kept

STEPS = 6  # in an epoch


@pytest.fixture
def saves(tmp_path, monkeypatch):
    """Train three epochs; give the steps after which last.ckpt was saved."""
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
    steps, save = [], AtomicCheckpointIO.save_checkpoint

    def watch(writer, checkpoint, path, storage_options=None):
        save(writer, checkpoint, path, storage_options)
        if path.name == "last.ckpt":
            saved = read_checkpoint(path)
            steps.append(saved.content["global_step"])
            assert saved.steps in (None, steps[-1])
            assert (saved.steps is None) == (steps[-1] % STEPS == 0)
            assert saved.epochs == steps[-1] // STEPS

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", watch)

    def saves(*overrides):
        settings = (
            "trainer.accelerator=cpu", "trainer.max_epochs=3", "data.batch_size=16",
            f"runs_dir={tmp_path}", "trainer.check_val_every_n_epoch=2", "tracking.mode=disabled",
        )  # fmt: skip
        assert main(["train", "iris_disc", *settings, *overrides]) == 0
        return steps

    return saves


def test_by_default_at_ends_of_epochs(saves):
    assert saves() == [12, 18]


def test_every_so_many_steps(saves):
    assert saves("trainer.checkpoint.every_steps=4") == [4, 8, 12, 16, 18]


def test_the_end_of_an_epoch_may_be_one_of_them(saves):
    assert saves("trainer.checkpoint.every_steps=6") == [6, 12, 18]


def test_every_so_many_minutes(saves, monkeypatch):
    """Counted from the last time, by a clock of which each step takes ten seconds."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()

    def reach(agreement, signum, save):
        clock.now += 10
        return Agreed(signum, save)

    monkeypatch.setattr(last, "time", clock)
    monkeypatch.setattr(Agreement, "reach", reach)
    assert saves("trainer.checkpoint.every_minutes=0.5") == [4, 8, 12, 16, 18]


def test_what_is_lost_without_them(saves, tmp_path):
    """A run goes on from the last step that was saved, and ends as it had before."""
    saves("trainer.checkpoint.every_steps=4", "trainer.checkpoint.keep=9", "model.dropout=0.2")
    (run,) = tmp_path.glob("*/*")
    whole = (run / "metrics.csv").read_bytes()
    weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    (run / "summary.json").unlink()
    *later, first = kept(run / "checkpoints/last.ckpt")
    for path in later:
        path.unlink()
    first.replace(run / "checkpoints/last.ckpt")
    assert read_checkpoint(run / "checkpoints/last.ckpt").steps == 4
    assert main(["train", "--resume", str(run)]) == 0
    assert (run / "metrics.csv").read_bytes() == whole
    again = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_alone_nobody_is_asked():
    assert Agreement(1, timeout=1).reach(10, False) == Agreed(10, False)
    assert Agreement(1, timeout=1).reach(0, True) == Agreed(0, True)


def test_a_place_in_words():
    assert last.name_place(3, None) == "epoch 3"
    assert last.name_place(2, 25) == "epoch 2, step 25"
