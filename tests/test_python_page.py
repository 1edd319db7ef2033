"""What docs/python.md shows is so: its code runs from top to bottom."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CODE = [block for block in BLOCKS if not block.startswith("# cli.py")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
    return tmp_path


@pytest.mark.slow
def test_its_code_runs_and_does_what_is_said(folder):
    names = {}
    for block in CODE:
        exec(block, names)
    assert names["layer"](torch.rand(2, 784)).shape == (2, 128)
    assert names["right"].float().mean() > 0.9
    assert names["results"]["test/accuracy"] > 0.9
    assert names["probs"].shape == (150, 2)
    assert (names["labels"] == names["y"][750:]).float().mean() > 0.9
    assert names["of_mine"]["test/accuracy"] > 0.9
    assert names["of_patients"]["test/rmse"] < 77  # the standard deviation of all patients
    assert (names["low"] < names["high"]).all()
    assert names["log_prob"].shape == (30,)
    assert names["log_prob"].isfinite().all()
    labels = names["flowers"].splits["test"].y
    assert (names["classes"].probs.argmax(-1) == labels).float().mean() > 0.8
    assert names["known"].log_prob.shape == names["length"].mean.shape == (5,)
    assert (names["likely"].x[:, 2:] == names["half"][:1, 2:]).all()
    assert names["draws"].features.shape == (2, 20, 4)
    assert names["completed"].shape == (8, 784)
    assert (names["completed"][:, :392] == names["images"][0, :392]).all()
    assert names["summary"]["test/accuracy"] > 0.5
    assert set(names["names"]) <= {"setosa", "versicolor", "virginica"}
    assert names["probable"].shape == (2, 3)
    assert names["task"].network.sizes == [4, 10, 5, 3]


@pytest.mark.skipif(
    importlib.util.find_spec("jsonargparse") is None, reason="jsonargparse is not installed"
)
def test_lightning_makes_a_command_of_it(folder, monkeypatch):
    (code,) = set(BLOCKS) - set(CODE)
    (command,) = re.findall(r"^\$ python (cli\.py .*)$", PAGE, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    exec(code, {"__name__": "__main__"})
    assert list(folder.glob("lightning_logs/*/checkpoints/*.ckpt"))
