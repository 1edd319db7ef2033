"""Fits are kept as long as the code that made them is the same, and no longer."""

import json
import shutil
from pathlib import Path

import pytest

import ugmm
from ugmm.cli import main

FILE = {"data": "iris", "folds": 2, "inner_folds": 2, "seeds": [0]}
MODELS = {"qda": {"baseline": "qda", "grid": {"reg": [0.1, 0.01]}}}


@pytest.fixture
def count_fits(tmp_path, monkeypatch):
    """Run a cross-validation again; returns how many fits it has done in all."""
    package = tmp_path / "ugmm"
    shutil.copytree(Path(ugmm.__file__).parent, package, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(ugmm, "__file__", str(package / "__init__.py"))
    monkeypatch.setenv("UGMM_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(json.dumps({**FILE, "models": MODELS}))

    def count_fits():
        assert main(["crossval", "mine.yaml", "--jobs", "1"]) == 0
        return len(Path("runs/crossval/mine/fits.jsonl").read_text().splitlines())

    return count_fits


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("config/schema.py", True),  # what an experiment's settings mean
        ("config/choices/models.py", True),
        ("training/trainer.py", True),
        ("kernels/mixture/loops.py", True),
        ("spec.py", True),
        ("report/study/crossval.py", False),  # only shows what was found
        ("tracking/session.py", False),
        ("cli.py", False),
    ],
)
def test_an_edit_of_what_decides_on_fits_does_them_again(path, counts, count_fits, tmp_path):
    once = count_fits()
    assert count_fits() == once  # all are known
    with (tmp_path / "ugmm" / path).open("a") as file:
        file.write("# edited\n")
    assert count_fits() == once * (1 + counts)


def test_an_edited_plugin_does_them_again(count_fits, tmp_path, monkeypatch):
    from ugmm.studies.crossval import nested

    once = count_fits()
    record = [{"name": "mine.py", "sha256": "0"}]
    monkeypatch.setattr(nested, "plugin_records", lambda: record)
    assert count_fits() == 2 * once
    assert count_fits() == 2 * once
