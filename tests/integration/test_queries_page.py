"""What docs/queries.md shows is so: its commands and its code, on a run of iris_gen."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from ugmm.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
SHOWN = dict(re.findall(r"^\$ ugmm (.*)\n((?:[^$`].*\n)*)", PAGE, re.MULTILINE))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run of iris_gen and the page's table."""
    folder = tmp_path_factory.mktemp("queries")
    for name in ("configs", "experiments"):
        shutil.copytree(ROOT / name, folder / name)
    (table,) = re.findall(r"^\$ cat flowers.csv\n((?:[^$`].*\n)*)", PAGE, re.MULTILINE)
    (folder / "flowers.csv").write_text(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
        settings = ["trainer.accelerator=cpu", "tracking.mode=disabled"]
        assert main(["train", "iris_gen", *settings]) == 0
    return folder


def table_of(text):
    return list(csv.reader(text.splitlines()))


def alike(found, shown):
    """Tell if a cell says what the page's does; the last digits are the machine's."""
    try:
        return float(found) == pytest.approx(float(shown), abs=0.05)
    except ValueError:
        return found == shown


@pytest.mark.parametrize("command", [c for c in SHOWN if c.startswith(("infer", "sample"))])
def test_answers_are_those_that_are_shown(folder, command, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert main(command.split()) == 0
    found, shown = (table_of(text) for text in (capsys.readouterr().out, SHOWN[command]))
    assert found[0] == shown[0]
    # Which draws are kept and how many starts agree may turn on a last digit.
    steady = [0] if command.startswith("sample") else range(len(found[0]))
    columns = [i for i in steady if found[0][i] != "starts_agreed"]
    for ours, theirs in zip(found[1:], shown[1:], strict=True):
        assert all(alike(ours[i], theirs[i]) for i in columns), (ours, theirs)


def test_its_code_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        exec(block, names)
    assert names["probs"].shape == (3, 3)
    assert names["drawn"].rows.shape == (3, 1000, 4)
    assert names["best"].labels[2] == "setosa"
    assert names["unknown"].mean.item() == pytest.approx(0.22, abs=0.05)
