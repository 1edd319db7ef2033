"""The reference that the site draws from the code itself: commands, and settings."""

import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from ugmm.cli import main
from ugmm.config.choices.declare import CHOSEN
from ugmm.config.schema import Config

pytest.importorskip("sphinx", reason="the extra docs is not installed")


@pytest.fixture
def extensions(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs" / "extensions"))
    found = {name: __import__(name) for name in ("command_line", "configuration_keys")}
    yield found
    for name in found:
        del sys.modules[name]


def test_every_command_is_described(extensions, capsys):
    text = "\n".join(extensions["command_line"].describe(extensions["command_line"].make_parser()))
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    (\w[\w-]*)(?: |$)", capsys.readouterr().out, re.MULTILINE)
    assert "train" in listed
    assert re.findall(r"^## ugmm (.*)", text, re.MULTILINE) == listed
    assert "`--resume RUN`\n: Continue the run" in text
    assert "`--query {posterior,marginal,conditional,mpe}`" in text


def test_settings_are_described_with_type_range_and_meaning(extensions):
    text = "\n".join(extensions["configuration_keys"].describe())
    told = dict(re.findall(r"^`(\S+?)(?: = .*)?`\n: (.*)", text, re.MULTILINE))
    assert told["data.batch_size"] == (
        "Whole number, at least 1, at most 10,000,000. Rows in a step, over all devices together."
    )
    assert told["model.image_shape"].startswith("List of whole numbers or `null`, ")
    assert told["trainer.early_stopping.patience"].startswith("Whole number or `null`, ")
    assert "`model.norm = none`\n: `none` or `layer` or `batch`. What stands between" in text
    groups = [f.name for f in fields(Config) if f.name in CHOSEN or is_dataclass(f.type)]
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == [*groups, "cluster"]
    # Nearly all say what they mean, by a comment beside them or by what they are handed to.
    silent = [name for name, meaning in told.items() if "." not in meaning.rstrip("0123456789.,")]
    assert len(silent) < 12, silent
