"""What docs/tables.md shows is so."""

import re
from pathlib import Path

import pytest

from ugmm.cli import main
from ugmm.config.compose import compose

PAGE = (Path(__file__).parents[1] / "docs" / "tables.md").read_text(encoding="utf-8")


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Write the page's tables; return its commands, each with the lines below it."""
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(program, {})
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = re.findall(r"^\$ ugmm (.*)\n((?:[^$].*\n)*)", "".join(blocks), re.MULTILINE)
    return [(command.split(), output.splitlines()) for command, output in commands]


def test_mistakes_are_the_lines_that_are_shown(shown, capsys):
    mistakes = [(words, lines) for words, lines in shown if lines[0].startswith("ugmm: error")]
    assert len(mistakes) == 3
    for words, lines in mistakes:
        assert main(words) == 1
        assert capsys.readouterr().err.splitlines() == lines


def test_tables_are_described_as_is_shown(shown, tmp_path):
    described = [(words, lines) for words, lines in shown if lines[0].startswith("/home/me/")]
    assert len(described) == 3
    for (_, experiment, *settings), lines in described:
        config = compose(experiment, settings)
        text = config.data.build(config.seed).description.replace(str(tmp_path), "/home/me")
        found = text.splitlines()
        assert lines[: len(found)] == found


@pytest.mark.slow
def test_results_are_those_that_are_shown(shown, tmp_path, capfd):
    trained = [(words, lines) for words, lines in shown if any("┃ metric" in t for t in lines)]
    assert len(trained) == 3
    for words, lines in trained:
        assert main([*words, "trainer.accelerator=cpu", "tracking.mode=disabled"]) == 0
        output = capfd.readouterr().out
        for line in lines:
            if re.search("accuracy|coverage|^WARNING", line):
                assert line in output
