"""What tests of comparisons share: runs that are made up, and where they are published."""

import numpy as np
import pytest
from compare_cases import TEXT, make_up

from ugmm.studies.ablation import compare as command


@pytest.fixture
def made_up(ablation):
    """Plan an ablation and make up its runs, less those that `left_out` names."""

    def make(text=TEXT, left_out=(), also=None):
        found = ablation(text)
        found.open_ledger().extend(found.points)
        rng = np.random.default_rng(0)
        for point in found.points:
            figures = {
                "val/accuracy": rng.random(),
                "test/accuracy": rng.random(),
                "test/nll": rng.random(),
                "seconds": rng.random(),
                "parameters": 345,
            }
            named = (point.variant, point.repetition)
            figures |= (also or {}).get(named, {})
            if named not in left_out and not point.run.folder.exists():
                make_up(point.run, figures)
        return found

    return make


@pytest.fixture
def root(monkeypatch, tmp_path):
    """The project that is published in."""
    root = tmp_path / "elsewhere"
    (root / "experiments").mkdir(parents=True)
    monkeypatch.setattr(command, "project_root", lambda: root)
    return root
