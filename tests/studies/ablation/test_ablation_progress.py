"""What the console says of a running ablation: each change once."""

from contextlib import ExitStack

import pytest

from ugmm.studies.ablation.progress import Progress

TEXT = """experiment: iris_disc
seeds: [0, 1]
variants:
  "plain\\e[31m": {}
  wide: {model.hidden: [20]}
"""
PLAIN = r"plain\x1b[31m"


@pytest.fixture
def ledger(ablation):
    found = ablation(TEXT)
    ledger = found.open_ledger()
    ledger.extend(found.points)
    return ledger


def end(point):
    point.run.folder.mkdir(parents=True)
    point.run.write_summary({"test/accuracy": 1.0})


def test_each_change_is_said_once(ledger, capsys):
    def look():
        progress.look()
        return capsys.readouterr().out.splitlines()

    first, second, third, fourth = ledger.read_points()
    end(first)
    with ExitStack() as elsewhere:
        assert elsewhere.enter_context(ledger.claims.holding(second.id, print))
        progress = Progress(ledger)
        progress.open()
        (line,) = capsys.readouterr().out.splitlines()
        logs = f"{ledger.folder}/logs"
        assert line == f"4 points: 1 done, 2 left, 1 running elsewhere; logs in {logs}"
        assert look() == []
        end(second)
        (line,) = look()  # it had begun before, nobody here knows when
        assert line.startswith(f"2 of 4 done: {PLAIN}, seed=1; about ")
    with ledger.claims.holding(third.id, print):
        assert look() == ["started: wide, seed=0"]
        assert look() == []
        end(third)
    (line,) = look()
    assert line.startswith("3 of 4 done: wide, seed=0 (")
    assert "s); about " in line
    with ledger.claims.holding(fourth.id, print):
        assert look() == ["started: wide, seed=1"]
    assert look() == ["given up: wide, seed=1, which the next worker goes on with"]
    ledger.write_failure(fourth, ValueError("no\nmore"))
    (line,) = look()
    assert line.startswith("failed: wide, seed=1: ValueError: no (runs/mine/ablation/failures/")
    assert progress.told == {fourth.id}
    assert look() == []


def test_points_that_a_search_plans_later_are_counted(ledger, capsys):
    progress = Progress(ledger, total=6)
    progress.open()
    end(ledger.read_points()[0])
    progress.look()
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("6 points: 6 left; logs in ")
    assert last.startswith("1 of 6 done: ")
