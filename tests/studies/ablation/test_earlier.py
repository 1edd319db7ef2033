"""A study that an earlier version left: nothing of it runs again, and it compares as it did."""

import json
import shutil
from pathlib import Path

import pytest

from ugmm.cli import main
from ugmm.studies.ablation import read_ablation

EARLIER = Path(__file__).parent / "earlier"
IDS = {"907feb66", "b6a33647", "6eb67f99", "ecae5b64"}


@pytest.fixture
def runs(project):
    """A copy of the folder that the earlier version left, beside its files; where runs lie."""
    for study in ("small", "digits"):
        shutil.copyfile(EARLIER / f"{study}.yaml", project / f"{study}.yaml")
        shutil.copytree(EARLIER / study, project / "runs" / study)
    return project / "runs"


def folders(runs):
    return sorted(path.name for path in runs.glob("small/*_seed-*"))


def test_nothing_is_planned_or_run_again(runs, capsys):
    before, plan = folders(runs), (runs / "small/ablation/plan.json").read_bytes()
    assert main(["ablate", "small.yaml"]) == 0
    output = capsys.readouterr().out
    assert "4 done; runs in runs/small" in output
    assert "the file has changed" not in output
    assert folders(runs) == before
    assert (runs / "small/ablation/plan.json").read_bytes() == plan


def test_the_plan_is_shown_with_the_ids_it_had(runs, capsys):
    assert main(["ablate", "small.yaml", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert output.count("done") == 4
    assert all(point in output for point in IDS)


def test_the_table_is_the_same_to_the_byte(runs, capsys):
    assert main(["compare", "small.yaml"]) == 0
    table = (runs / "small/compare/table.csv").read_bytes()
    assert table == (EARLIER / "table.csv").read_bytes()
    assert "4 of 4 runs are finished" in capsys.readouterr().out


def test_a_new_seed_joins_the_old_points_in_a_plan_of_mappings(runs):
    path = Path("small.yaml")
    path.write_text(path.read_text().replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    ablation = read_ablation("small.yaml")
    ledger = ablation.open_ledger()
    before = ledger.read_points()
    added, dropped = ledger.extend(ablation.points)
    assert [point.repetition for point in added] == ["seed=2", "seed=2"]
    assert dropped == []
    entries = json.loads((runs / "small/ablation/plan.json").read_text())["points"]
    assert {entry["id"] for entry in entries[:4]} == IDS
    assert all(isinstance(entry["config"], dict) for entry in entries)
    again = ablation.open_ledger().read_points()
    assert again == [*before, *added]
    assert [point.resolve().seed for point in again] == [0, 1, 0, 1, 2, 2]


def test_a_plan_that_was_removed_finds_its_runs_again(runs, capsys):
    (runs / "small/ablation/plan.json").unlink()
    assert main(["ablate", "small.yaml", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert output.count("done") == 4
    assert all(point in output for point in IDS)


def test_a_renamed_key_changes_no_point(runs):
    ablation = read_ablation("digits.yaml")  # which says data.max_shift
    ledger = ablation.open_ledger()
    planned = ledger.read_points()
    assert ledger.match(ablation.points) == planned
    assert ledger.extend(ablation.points) == ([], [])
    assert [point.variant for point in planned] == ["data.shift=0"] * 2 + ["data.shift=2"] * 2
    assert [point.resolve().data.max_shift for point in planned] == [0, 0, 2, 2]


def test_runs_are_compared_under_a_renamed_key(runs, capsys):
    for point in read_ablation("digits.yaml").open_ledger().read_points():
        point.run.folder.mkdir()
        point.run.write_summary({"test/accuracy": 0.9, "seconds": 1.0, "parameters": 1})
    assert main(["compare", "digits.yaml"]) == 0
    assert "4 of 4 runs are finished" in capsys.readouterr().out
    lines = (runs / "digits/compare/table.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "data.max_shift=0",
        "data.max_shift=2",
    ]
