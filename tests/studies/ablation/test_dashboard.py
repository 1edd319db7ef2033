"""What is shown of an ablation before it has run: what its task will log."""

import re

import pytest

from ugmm.cli import main

pytest.importorskip("wandb_workspaces")


@pytest.mark.parametrize(
    ("ablation", "curves"),
    [
        ("iris_baselines", {"val/accuracy", "val/nll", "train/loss"}),
        ("diabetes_search", {"val/nlpd", "val/r2", "train/loss"}),
    ],
)
def test_curves_are_those_of_the_task(ablation, curves, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["dashboard", ablation, "--dry-run"]) == 0
    shown = re.findall(r'"chartTitle": "((?:val|train)/\w+)"', capsys.readouterr().out)
    assert set(shown) == curves
