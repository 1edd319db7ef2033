"""A disk that is full: one line says so and how to go on, and then the run does."""

import errno
import os
import signal
from contextlib import contextmanager
from unittest.mock import Mock

import pytest

from ugmm.cli import main
from ugmm.runs import Run
from ugmm.training.callbacks import EndTogether

SETTINGS = (
    "trainer.accelerator=cpu",
    "trainer.max_epochs=4",
    "trainer.check_val_every_n_epoch=1",
    "tracking.mode=disabled",
)


@contextmanager
def full(name):
    """Let the disk be full for files of one name."""
    bring = os.fsync

    def refuse(descriptor):
        if f"/.{name}." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        bring(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        yield


def train(runs):
    return main(["train", "iris_disc", f"runs_dir={runs}", *SETTINGS])


@pytest.mark.parametrize("name", ["metrics.csv", "best.ckpt", "last.ckpt", "summary.json"])
def test_a_run_ends_in_one_line_and_goes_on(tmp_path, monkeypatch, capfd, name):
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
    monkeypatch.setattr("ugmm.training.run.plugin_options", lambda: ["--plugin=/mine/own.py"])
    runs = tmp_path / "my runs"
    with full(name):
        assert train(runs) == 1
    (folder,) = runs.glob("*/*")
    run = Run.open(folder)
    path = (run.checkpoints if name.endswith(".ckpt") else run.folder) / name
    assert capfd.readouterr().err == (
        f"ugmm: error: cannot write {path}: the disk is full; free some space and go on with: "
        f"ugmm train --resume '{run.folder}' --plugin=/mine/own.py\n"
    )
    assert not list(run.folder.rglob(".*.partial"))
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert run.read_summary()["steps"] == 4


def test_before_it_begins_nothing_is_left(tmp_path, capfd):
    with full("config.yaml"):
        assert train(tmp_path / "runs") == 1
    assert "config.yaml: the disk is full; free some space and try again" in capfd.readouterr().err
    assert not list((tmp_path / "runs").glob("*/*"))


def test_pictures_that_do_not_fit_unfinish_no_run(tmp_path, capfd):
    with full("training.png"):
        assert train(tmp_path / "runs") == 0
    error = capfd.readouterr().err
    assert error.startswith("warning: the figures are written, but not all pictures: cannot write")
    assert error.count("\n") == 1
    (folder,) = (tmp_path / "runs").glob("*/*")
    run = Run.open(folder)
    before = {**run.read_summary(), "seconds": 0}
    assert "test/accuracy" in before
    assert main(["train", "--resume", str(run.folder)]) == 0  # as the line says
    assert (run.plots / "training.png").is_file()
    assert {**run.read_summary(), "seconds": 0} == before
    capfd.readouterr()
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert "ended already" in capfd.readouterr().out


def test_processes_of_a_run_end_with_the_one_that_cannot_write():
    """They would wait for it, and then each print a traceback."""
    trainer = Mock()
    EndTogether().on_exception(trainer, Mock(), OSError(errno.ENOSPC, "full"))
    trainer.strategy.launcher.kill.assert_called_once_with(signal.SIGTERM)


def test_a_run_killed_while_it_draws_goes_on_drawing(trained, monkeypatch):
    run, drawn = trained("iris_disc"), []
    before = {**run.read_summary(), "seconds": 0}
    run.undrawn.touch()  # as from before the summary until all pictures are there
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: drawn.append(1) or [])
    for _ in range(2):
        assert main(["train", "--resume", str(run.folder)]) == 0
        assert drawn == [1]
    assert {**run.read_summary(), "seconds": 0} == before
