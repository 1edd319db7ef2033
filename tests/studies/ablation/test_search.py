"""Searches: what a space may say, and that a study asks and is told rightly."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ugmm.cli import main
from ugmm.config.canonical import compute_identity
from ugmm.config.compose import compose
from ugmm.config.frozen import to_mapping
from ugmm.errors import UserError

pytest.importorskip("optuna", reason="optuna is not installed: searches are not tested")

from ugmm.studies.ablation.search import Search

BASE = "experiment: iris_disc\nseeds: [0, 1]\nmetric: val/nll\nsearch: optuna\ntrials: 5\n"
SPACE = """space:
  optimizer.lr: {low: 0.001, high: 0.1, log: true}
  model.dropout: {low: 0.0, high: 0.5, step: 0.25}
  optimizer.name: [adam, adamw]
  model.hidden: [[10, 5], [20]]
  trainer.max_epochs: {low: 10, high: 20}
"""


def run_all(ablation, objective, stop_after=10_000):
    """Ask and tell, a search anew for each trial, as if the process were always restarted."""
    ledger, asked = ablation.open_ledger(), 0
    while asked < stop_after and Search(ablation, ledger).ask():
        asked += 1
        summaries = {p.id: {"val/nll": objective(p.resolve())} for p in ledger.read_points()}
        Search(ablation, ledger).tell(summaries)
    return ledger.read_points(), Search(ablation, ledger).study.trials


def far_from_best(config):
    return abs(config.optimizer.lr - 0.02) + config.model.dropout + 0.01 * config.seed


def test_each_trial_is_planned_once_and_told_its_mean(ablation):
    points, trials = run_all(ablation(BASE + SPACE), far_from_best)
    assert len(trials) == 5
    assert len({p.id for p in points}) == len(points)
    by_id = {p.id: p.resolve() for p in points}
    for trial in trials:
        configs = [by_id[i] for i in trial.user_attrs["points"]]
        assert [config.seed for config in configs] == [0, 1]
        expected = sum(map(far_from_best, configs)) / 2
        assert trial.value == pytest.approx(expected)
        for config in configs:
            assert 10 <= config.trainer.max_epochs <= 20
            assert config.model.dropout in (0.0, 0.25, 0.5)
            assert 0.001 <= config.optimizer.lr <= 0.1
            assert f"optimizer.lr={config.optimizer.lr}" in config.variant


def test_the_same_file_gives_the_same_trials(ablation, tmp_path):
    first, _ = run_all(ablation(BASE + SPACE), far_from_best)
    (tmp_path / "runs").rename(tmp_path / "before")
    run_all(ablation(BASE + SPACE), far_from_best, stop_after=2)  # and going on after a break
    second, _ = run_all(ablation(BASE + SPACE), far_from_best)
    assert second == first


def test_more_trials_go_on(ablation):
    first, _ = run_all(ablation(BASE + SPACE), far_from_best)
    more, trials = run_all(ablation(BASE.replace("trials: 5", "trials: 8") + SPACE), far_from_best)
    assert more[: len(first)] == first
    assert len(trials) == 8


def test_a_trial_without_a_value_stays_open(ablation):
    search = ablation(BASE + SPACE)
    ledger = search.open_ledger()
    assert Search(search, ledger).ask()
    one, other = ledger.read_points()
    Search(search, ledger).tell({one.id: {"val/nll": 1.0}})
    assert Search(search, ledger).study.trials[0].value is None
    assert Search(search, ledger).describe_best() == ""
    Search(search, ledger).tell({one.id: {"val/nll": 1.0}, other.id: {"val/nll": 2.0}})
    assert Search(search, ledger).study.trials[0].value == 1.5
    assert "ugmm train iris_disc optimizer.lr=" in Search(search, ledger).describe_best()


def test_the_best_trial_is_run_again_by_the_command_that_is_said(ablation):
    common = "set: {experiment: iris_paper, trainer: {max_epochs: 7}, data: {fold: 1}}\n"
    space = "space:\n  model.hidden: [[10, 5], [20]]\n"
    text = BASE.replace("trials: 5", "trials: 1") + common + space
    points, _ = run_all(ablation(text), far_from_best)
    best = Search(ablation(text), ablation(text).open_ledger()).describe_best()
    assert best.startswith("best of 1 trial: val/nll ")
    ugmm, train, experiment, *overrides = shlex.split(best.partition("run it by: ")[2])
    assert (ugmm, train) == ("ugmm", "train")
    again = compose(experiment, overrides)
    assert compute_identity(to_mapping(again)) == points[0].identity


def test_a_process_killed_as_it_asks_costs_no_trial(ablation, tmp_path):
    expected, _ = run_all(ablation(BASE + SPACE), far_from_best)
    (tmp_path / "runs").rename(tmp_path / "before")
    search = ablation(BASE + SPACE)
    Search(search, search.open_ledger()).study.ask()  # and nothing more
    points, trials = run_all(search, far_from_best)
    assert points == expected
    assert [trial.state.name for trial in trials] == ["FAIL"] + ["COMPLETE"] * 5


def test_a_process_killed_as_it_writes_keeps_nobody_waiting(ablation):
    search = ablation(BASE + SPACE)
    ledger = search.open_ledger()
    Search(search, ledger)
    # Optuna's own lock, as one that is killed leaves it: in a folder named relative to this one.
    (ledger.folder / "optuna.log.lock").symlink_to(ledger.folder / "optuna.log")
    writing = (
        "import os, sys; from filelock import FileLock; "
        "FileLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    )
    path = str(ledger.folder / ".optuna.lock")
    subprocess.run([sys.executable, "-c", writing, path], check=False)
    points, _ = run_all(search, far_from_best)
    assert len(points) == 10


@pytest.mark.parametrize("line", ["not JSON", "5", "null", "{}", '{"op_code": 5}'])
def test_a_damaged_journal_is_one_line(ablation, line):
    search = ablation(BASE + SPACE)
    ledger = search.open_ledger()
    Search(search, ledger)
    with (ledger.folder / "optuna.log").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=r"optuna\.log is damaged .*; remove it") as mistake:
        Search(search, ledger)
    assert "\n" not in str(mistake.value)


def test_choices_cannot_change_while_they_are_searched(ablation):
    run_all(ablation(BASE + SPACE), far_from_best, stop_after=1)
    changed = ablation(BASE + SPACE.replace("[20]]", "[30]]"))
    with pytest.raises(UserError, match="a space cannot be changed while it is searched"):
        Search(changed, changed.open_ledger()).ask()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BASE, "search needs a space"),
        (BASE.replace("search: optuna\n", "") + SPACE, "add 'search: optuna'"),
        (BASE + SPACE + "grid: {model.dropout: [0.1]}", "no variants, grid or baseline"),
        (BASE.replace("val/nll", "test/nll") + SPACE, "choose by validation, such as val/nll"),
        (BASE + "space: {model.dropot: [0.1]}", "unknown key 'model.dropot'"),
        (BASE + "space: {model.dropout: {low: 0.1, high: 1.5}}", "model.dropout=1.5 must be"),
        (BASE + "space: {model.dropout: {low: 0.5, high: 0.1}}", "low must be below high"),
        (BASE + "space: {model.dropout: {low: 0.1}}", "must be a list of values, or {low"),
        (BASE + "space: {optimizer.lr: {low: 0, high: 1, log: true}}", "log needs low above 0"),
        (BASE + "space: {optimizer.lr: {low: a, high: 1}}", "must be finite numbers"),
        (BASE + "space: {optimizer.lr: {low: 0.1, high: .inf}}", "must be finite numbers"),
        (BASE + "space: {optimizer.lr: {low: .nan, high: 1}}", "must be finite numbers"),
        (BASE + "space: {seed: [1, 2]}", "sets seed; give seeds"),
        (BASE + "space: {optimizer.lr: {low: 1, high: 2, log: no way}}", "log must be true or"),
        (BASE + "space: {optimizer.name: [adam, adan]}", "adan"),
        (BASE + SPACE + "search: grid", "search"),
    ],
)
def test_mistakes_are_one_clear_line(ablation, text, line):
    with pytest.raises(UserError) as mistake:
        ablation(text)
    assert line in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_the_plan_of_a_search_is_shown(ablation, capsys):
    ablation(BASE + SPACE)
    assert main(["ablate", "mine.yaml", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert "5 more trials" in output
    assert "optimizer.lr: 0.001 to 0.1 (logarithmically)" in output
    assert not Path("runs").exists()


def test_trials_that_dead_workers_have_not_asked_for_are_left(ablation, monkeypatch, capsys):
    ablation(BASE + SPACE)
    monkeypatch.setattr("ugmm.studies.ablation.command.run_workers", lambda *_, **__: ["killed"])
    assert main(["ablate", "mine.yaml"]) == 1
    out, error = capsys.readouterr()
    assert out.startswith("10 points: 10 left; logs in ")
    assert error.startswith("ugmm: error: 10 points: 10 left; a worker died (killed), see ")
