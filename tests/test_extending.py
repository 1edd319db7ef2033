"""What docs/extending.md shows is so: each file is a plugin, each command trains with it."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from ugmm.cli import main
from ugmm.runs import Run

PAGE = (Path(__file__).parents[1] / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"^\$ ugmm (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files of the page, in which commands run."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name in ("configs", "experiments"):
        (tmp_path / name).symlink_to(Path(__file__).parents[1] / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UGMM_PLUGINS", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in FILES:
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    return tmp_path


def test_the_page_shows_data_sets_networks_and_a_loss():
    assert list(FILES) == ["two_moons.py", "skip.py", "waves.py", "focal.py"]
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_train(command, folder):
    assert main([*shlex.split(command), "trainer.accelerator=cpu"]) == 0
    (path,) = folder.glob("runs/*/*/config.yaml")
    run = Run.open(path.parent)
    summary = run.read_summary()
    assert summary.get("test/accuracy", summary.get("test/r2")) > 0.85
    (record,) = [p for p in run.read_environment()["plugins"] if p["name"] in command]
    assert len(record["sha256"]) == 64
    settings = dict(text.split("=") for text in shlex.split(command) if "=" in text)
    frozen = path.read_text()
    for name, value in settings.items():
        assert re.search(rf"\b{name.rpartition('.')[2]}: {value}\b", frozen) or "." not in name
    assert json.loads((path.parent / "environment.json").read_text())["plugins"]
