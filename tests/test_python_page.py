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
    for name in ("configs", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
    return tmp_path


def test_its_code_runs_and_does_what_is_said(folder):
    assert len(CODE) == 7
    torch.manual_seed(0)
    names = {}
    for block in CODE:
        exec(block, names)
    assert names["results"]["test/accuracy"] > 0.85
    assert names["posterior"].shape == (150, 2)
    assert (names["labels"] == names["y"][750:]).float().mean() > 0.85
    assert names["summary"]["test/accuracy"] > 0.5
    assert names["task"].network.sizes == [4, 10, 5, 3]
    assert names["log_prob"].shape == (30,)
    assert names["log_prob"].isfinite().all()
    assert names["completed"].shape == (8, 784)
    assert (names["completed"][:, :392] == names["images"][0, :392]).all()


@pytest.mark.skipif(
    importlib.util.find_spec("jsonargparse") is None, reason="jsonargparse is not installed"
)
def test_lightning_makes_a_command_of_it(folder, monkeypatch):
    (code,) = set(BLOCKS) - set(CODE)
    (command,) = re.findall(r"^\$ python (cli\.py .*)$", PAGE, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    exec(code, {"__name__": "__main__"})
    assert list(folder.glob("lightning_logs/*/checkpoints/*.ckpt"))
