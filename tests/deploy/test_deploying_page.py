"""What docs/deploying.md shows of predicting is so."""

import csv
import io
import re
import shlex

import pytest

from fences import fences
from ugmm.cli import main

QUICKLY = ("trainer.accelerator=cpu", "tracking.mode=disabled")


def test_predicting_as_it_is_shown(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])
    exec(fences("docs/deploying.md", "python")[0].text, {})
    text = (tmp_path / "new.csv").read_text()
    (tmp_path / "renamed.csv").write_text(text.replace("height", "hight"))
    (tmp_path / "unknown.csv").write_text(text.replace("shade", "sunny", 1))
    blocks = "".join(block.text for block in fences("docs/deploying.md", "console")[:3])
    shown = dict(re.findall(r"^\$ ugmm (.*)\n((?:[^$].*\n)*)", blocks, re.MULTILINE))
    train, predict, *mistakes, evaluate = shown
    assert main([*shlex.split(train), *QUICKLY]) == 0
    capfd.readouterr()

    assert main(predict.split()) == 0
    names, *rows = csv.reader(io.StringIO(capfd.readouterr().out))
    shown_names, *expected = csv.reader(io.StringIO(shown[predict]))
    assert names == shown_names
    for row, line in zip(rows, expected, strict=True):
        assert row[:2] == line[:2]
        # Other processors train to slightly other figures.
        assert list(map(float, row[2:])) == pytest.approx(list(map(float, line[2:])), abs=0.02)
    for mistake in mistakes:
        assert main(mistake.split()) == 1
        assert shown[mistake] in capfd.readouterr().err
    assert main(evaluate.split()) == 0
    assert "│ accuracy          │   100.00% │" in capfd.readouterr().out
