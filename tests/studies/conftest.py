"""What tests of studies share: a folder of the test's own, and ablations in it."""

from pathlib import Path

import pytest

from ugmm.studies.ablation import read_ablation


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Work in an empty folder with the shipped experiments; returns it."""
    for folder in ("configs", "experiments"):
        (tmp_path / folder).symlink_to(Path(__file__).parents[2] / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ablation(project):
    """Write an ablation into `mine.yaml` and read it."""

    def read(text):
        (project / "mine.yaml").write_text(text)
        return read_ablation("mine.yaml")

    return read
