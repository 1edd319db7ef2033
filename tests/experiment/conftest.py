"""A quick experiment, run in this process."""

import pytest

from ugmm.cli import main
from ugmm.runs import Run

QUICK = ("trainer.accelerator=cpu", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2")


@pytest.fixture
def train(tmp_path, capfd):
    """Train in a folder of the test's own; returns the run, or the error's line."""

    def train(experiment, *overrides):
        before = set((tmp_path / "runs").glob("*/*"))
        code = main(["train", experiment, f"runs_dir={tmp_path}/runs", *QUICK, *overrides])
        output = capfd.readouterr()
        if code:
            return output.err
        (folder,) = set((tmp_path / "runs").glob("*/*")) - before
        assert str(folder) in output.out
        return Run.open(folder)

    return train
