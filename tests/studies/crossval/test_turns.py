"""A cross-validation that several processes share."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from ugmm.studies.claims import Claims
from ugmm.studies.crossval import turns
from ugmm.studies.crossval.fits import Place

PLACES = [Place(3, 2, 0, fold, data="iris") for fold in range(3)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(turns, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(turns, "_PATIENCE", 0.3)


def test_all_that_is_free_is_run_once(tmp_path):
    run = []
    assert turns.take_turns(run.append, PLACES, tmp_path)
    assert run == PLACES


def test_what_another_is_at_is_left_to_it_after_a_while(tmp_path):
    run, started = [], time.monotonic()
    with Claims(tmp_path).holding("iris-missing0-seed0-fold1", print):
        assert not turns.take_turns(run.append, PLACES, tmp_path)
    assert run == [PLACES[0], PLACES[2]]
    assert time.monotonic() - started > 0.3


def test_what_another_leaves_meanwhile_is_taken(tmp_path):
    run = []
    with ExitStack() as other:
        other.enter_context(Claims(tmp_path).holding("iris-missing0-seed0-fold1", print))

        def run_as_the_other_ends(place):
            run.append(place)
            other.close()

        assert turns.take_turns(run_as_the_other_ends, PLACES[1:], tmp_path)
    assert run == [PLACES[2], PLACES[1]]


FILE = {
    "data": "iris",
    "folds": 3,
    "inner_folds": 2,
    "seeds": [0, 1],
    "models": {
        "qda": {"baseline": "qda", "grid": {"reg": [0.1, 0.01]}},
        "lda": {"baseline": "lda"},
    },
}


@pytest.mark.slow
def test_processes_that_share_a_folder_do_each_fit_once(tmp_path):
    (tmp_path / "mine.yaml").write_text(json.dumps(FILE))
    command = [sys.executable, "-m", "ugmm", "crossval", "mine.yaml", "--jobs=1", "--shared"]
    started = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    folder = tmp_path / "runs" / "crossval" / "mine"
    fits = [json.loads(line) for line in Path(folder, "fits.jsonl").read_text().splitlines()]
    counts = Counter(fit["key"] for fit in fits)
    assert set(counts.values()) == {1}
    # In six outer folds, two candidates on two inner folds, and a final fit of each model.
    assert len(counts) == 6 * (2 * 2 + 2)
    assert any("table.md" in output for output in outputs)
    once = (folder / "table.md").read_text()
    alone = [sys.executable, "-m", "ugmm", "crossval", "mine.yaml", "--jobs=1"]
    subprocess.run(alone, cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
    assert (folder / "table.md").read_text() == once
    assert len((folder / "fits.jsonl").read_text().splitlines()) == len(fits)
