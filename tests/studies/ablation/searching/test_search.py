"""Searches: what a space may say, and that a study asks and is told rightly."""

import shlex
from pathlib import Path

import pytest

from ugmm.cli import main
from ugmm.config.canonical import compute_identity
from ugmm.config.compose import compose
from ugmm.config.frozen import to_mapping
from ugmm.errors import UserError

pytest.importorskip("optuna", reason="optuna is not installed: searches are not tested")

from ugmm.studies.ablation.searching.search import Search
from ugmm.studies.ablation.searching.trials import Ended

NOTHING = Ended({})
BASE = "experiment: iris_disc\nseeds: [0, 1]\nmetric: val/nll\nsearch: optuna\ntrials: 5\n"
SPACE = """space:
  optimizer.lr: {low: 0.001, high: 0.1, log: true}
  model.dropout: {low: 0.0, high: 0.5, step: 0.25}
  optimizer.name: [adam, adamw]
  model.hidden: [[10, 5], [20]]
  trainer.max_epochs: {low: 10, high: 20}
"""


def run_all(ablation, objective, stop_after=10_000):
    """Ask, a search anew for each trial, as if the process were always restarted."""
    ledger, asked, known = ablation.open_ledger(), 0, {}

    def ended():
        for point in ledger.read_points():
            if point.id not in known:
                config = point.resolve()
                seconds = float(config.trainer.max_epochs)
                known[point.id] = {"val/nll": objective(config), "seconds": seconds}
        return Ended(known)

    while asked < stop_after and Search(ablation, ledger).ask(ended()):
        asked += 1
    return ledger.read_points(), Search(ablation, ledger), ended()


def far_from_best(config):
    return abs(config.optimizer.lr - 0.02) + config.model.dropout + 0.01 * config.seed


def test_each_trial_is_planned_once_and_scored_by_its_mean(ablation):
    points, search, summaries = run_all(ablation(BASE + SPACE), far_from_best)
    trials = search.read_trials()
    assert len(trials) == 5
    assert len({p.id for p in points}) == len(points)
    by_id = {p.id: p.resolve() for p in points}
    means = []
    for trial in trials:
        configs = [by_id[i] for i in trial.rungs[0]]
        assert [config.seed for config in configs] == [0, 1]
        means.append(sum(map(far_from_best, configs)) / 2)
        for config in configs:
            assert 10 <= config.trainer.max_epochs <= 20
            assert config.model.dropout in (0.0, 0.25, 0.5)
            assert 0.001 <= config.optimizer.lr <= 0.1
            assert f"optimizer.lr={config.optimizer.lr}" in config.variant
    best = search.find_best(summaries)
    assert best.score == pytest.approx(min(means))
    assert best.number == means.index(min(means))
    assert best.values == trials[best.number].values


def test_the_same_file_gives_the_same_trials(ablation, tmp_path):
    first, *_ = run_all(ablation(BASE + SPACE), far_from_best)
    (tmp_path / "runs").rename(tmp_path / "before")
    run_all(ablation(BASE + SPACE), far_from_best, stop_after=2)  # and going on after a break
    second, *_ = run_all(ablation(BASE + SPACE), far_from_best)
    assert second == first


def test_more_trials_go_on(ablation):
    first, *_ = run_all(ablation(BASE + SPACE), far_from_best)
    more, search, _ = run_all(
        ablation(BASE.replace("trials: 5", "trials: 8") + SPACE), far_from_best
    )
    assert more[: len(first)] == first
    assert len(search.read_trials()) == 8


def test_a_trial_has_ended_when_all_its_seeds_have(ablation):
    mine = ablation(BASE + SPACE)
    ledger = mine.open_ledger()
    search = Search(mine, ledger)
    assert search.ask(NOTHING)
    one, other = ledger.read_points()
    assert search.describe_best(Ended({one.id: {"val/nll": 1.0}})) == ""
    both = Ended({one.id: {"val/nll": 1.0}, other.id: {"val/nll": 2.0}})
    assert search.find_best(both).score == 1.5
    assert "ugmm train iris_disc optimizer.lr=" in search.describe_best(both)


def test_a_metric_that_a_run_lacks_is_one_line(ablation):
    mine = ablation(BASE + SPACE)
    search = Search(mine, mine.open_ledger())
    search.ask(NOTHING)
    with pytest.raises(UserError, match="a run lacks the metric 'val/nll'"):
        search.ask(Ended({p.id: {"val/mae": 1.0} for p in mine.open_ledger().read_points()}))


def test_the_best_trial_is_run_again_by_the_command_that_is_said(ablation):
    common = "set: {experiment: iris_paper, trainer: {max_epochs: 7}, data: {fold: 1}}\n"
    space = "space:\n  model.hidden: [[10, 5], [20]]\n"
    text = BASE.replace("trials: 5", "trials: 1") + common + space
    points, search, summaries = run_all(ablation(text), far_from_best)
    best = search.describe_best(summaries)
    assert best.startswith("best of 1 trial: val/nll ")
    ugmm, train, experiment, *overrides = shlex.split(best.partition("run it by: ")[2])
    assert (ugmm, train) == ("ugmm", "train")
    again = compose(experiment, overrides)
    assert compute_identity(to_mapping(again)) == points[0].identity


def test_a_process_killed_as_it_asks_costs_no_trial(ablation, tmp_path, monkeypatch):
    expected, *_ = run_all(ablation(BASE + SPACE), far_from_best)
    (tmp_path / "runs").rename(tmp_path / "before")
    mine = ablation(BASE + SPACE)
    with monkeypatch.context() as patch:
        patch.setattr("ugmm.studies.ablation.searching.search.write_trials", killed)
        with pytest.raises(SystemExit):
            Search(mine, mine.open_ledger()).ask(
                NOTHING
            )  # its points are planned, and nothing more
    points, search, _ = run_all(mine, far_from_best)
    assert points == expected
    assert len(search.read_trials()) == 5


def killed(*_):
    raise SystemExit


@pytest.mark.parametrize(
    "text", ["not JSON", "5", "null", "{}", '{"trials": [5]}', '{"trials": [{"mu": 1}]}']
)
def test_a_damaged_file_is_one_line(ablation, text):
    mine = ablation(BASE + SPACE)
    ledger = mine.open_ledger()
    Search(mine, ledger).ask(NOTHING)
    (ledger.folder / "trials.json").write_text(text)
    with pytest.raises(UserError, match=r"trials\.json is damaged .*; remove it") as mistake:
        Search(mine, ledger)
    assert "\n" not in str(mistake.value)


def test_choices_cannot_change_while_they_are_searched(ablation):
    run_all(ablation(BASE + SPACE), far_from_best, stop_after=1)
    changed = ablation(BASE + SPACE.replace("[20]]", "[30]]"))
    with pytest.raises(UserError, match="a space cannot be changed while it is searched"):
        Search(changed, changed.open_ledger()).ask(NOTHING)


RUNGS = """experiment: iris_disc
seeds: [0]
metric: val/nll
search: optuna
trials: 9
epochs: [2, 6, 18]
space:
  optimizer.lr: {low: 0.001, high: 0.1, log: true}
"""


def test_the_best_third_climbs_to_the_next_rung(ablation):
    points, search, summaries = run_all(ablation(RUNGS), far_from_best)
    trials = search.read_trials()
    reached = sorted(len(trial.rungs) for trial in trials)
    assert reached.count(3) == 1
    assert 2 <= reached.count(2) <= 4  # asynchronous: a third of those that had ended by then
    distance = [abs(trial.values["optimizer.lr"] - 0.02) for trial in trials]
    third = sorted(distance)[2]
    assert all(len(t.rungs) > 1 for t, d in zip(trials, distance, strict=True) if d <= third)
    assert search.find_best(summaries).score == min(distance)
    assert search.find_best(summaries).rung == 2
    epochs = {p.id: p.resolve().trainer.max_epochs for p in points}
    for trial in trials:
        assert [epochs[ids[0]] for ids in trial.rungs] == [2, 6, 18][: len(trial.rungs)]


def test_seconds_of_training_end_a_search(ablation):
    text = RUNGS.replace("trials: 9", "seconds: 50")  # here a run takes a second an epoch
    _, search, summaries = run_all(ablation(text), far_from_best)
    spent = sum(summary["seconds"] for summary in summaries.summaries.values())
    assert 50 <= spent < 50 + 18
    assert search.count_left(summaries) == 0


def test_a_search_that_was_stopped_still_promotes(ablation):
    mine = ablation(RUNGS)
    ledger = mine.open_ledger()
    for _ in range(9):  # trials of the first rung, none of which has ended by then
        assert Search(mine, ledger).ask(NOTHING)
    assert Search(mine, ledger).count_left(NOTHING) == 0
    scores = {p.id: {"val/nll": float(i)} for i, p in enumerate(ledger.read_points())}
    assert Search(mine, ledger).count_left(Ended(scores)) == 1
    assert Search(mine, ledger).ask(Ended(scores))
    assert ledger.read_points()[-1].resolve().trainer.max_epochs == 6


@pytest.mark.parametrize("others", [0, 4])
def test_failures_use_up_a_budget_of_seconds(ablation, others):
    mine = ablation(RUNGS.replace("trials: 9", "seconds: 10"))
    ledger, asked = mine.open_ledger(), 0
    ended = NOTHING
    while Search(mine, ledger).ask(ended):
        asked += 1
        ids = [p.id for p in ledger.read_points()]
        done = {i: {"val/nll": 1.0, "seconds": 0.5} for i in ids[:others]}
        ended = Ended(done, frozenset(ids[others:]))
        assert asked <= 30
    assert asked == (20 if others else 10)  # a failure costs as much as the others, or a tenth
    assert (Search(mine, ledger).find_best(ended) is None) == (others == 0)


def test_what_diverged_or_failed_further_up_is_not_the_best(ablation):
    _, search, ended = run_all(ablation(RUNGS), far_from_best)
    top = max(search.read_trials(), key=lambda trial: len(trial.rungs))
    at_top = {top.rungs[-1][0]}
    without = {k: v for k, v in ended.summaries.items() if k not in at_top}
    diverged = {**without, top.rungs[-1][0]: {"val/nll": float("nan"), "seconds": 1.0}}
    for found in (Ended(diverged), Ended(without, frozenset(at_top))):
        best = search.find_best(found)
        assert best.values != top.values
        assert best.rung == 1
    assert search.find_best(ended).values == top.values


def test_a_longer_training_that_is_worse_is_not_the_best(ablation):
    def overfits(config):
        return far_from_best(config) + 0.01 * (config.trainer.max_epochs == 18)

    _, search, ended = run_all(ablation(RUNGS), overfits)
    best = search.find_best(ended)
    assert (best.rung, search.list_chosen(best)["trainer.max_epochs"]) == (1, 6)
    assert "trainer.max_epochs=6" in search.describe_best(ended)
    assert "after 6 epochs" in search.describe("mine", best)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[2, 6, 18]", "[2, 7, 18]", "epochs"),
        ("[2, 6, 18]", "[2, 6]", "epochs"),
        ("val/nll", "val/ece", "metric"),
        ("seeds: [0]", "seeds: [0, 1]", "seeds"),
        ("trials: 9", "trials: 9\nset: {model.dropout: 0.5}", "set"),
    ],
)
def test_trials_of_something_else_are_not_gone_on_with(ablation, old, new, what):
    run_all(ablation(RUNGS), far_from_best, stop_after=3)
    changed = ablation(RUNGS.replace(old, new))
    with pytest.raises(UserError, match=f"^{what} changed since .*trials.json was begun") as found:
        Search(changed, changed.open_ledger())
    assert "\n" not in str(found.value)


def test_a_rung_and_trials_may_be_added(ablation):
    run_all(ablation(RUNGS), far_from_best, stop_after=5)
    more = RUNGS.replace("18]", "18, 54]").replace("trials: 9", "trials: 12")
    _, search, _ = run_all(ablation(more), far_from_best)
    assert len(search.read_trials()) == 12


def test_what_has_no_number_for_a_score_is_the_worst(ablation):
    def nowhere(config):
        return float("nan") if config.optimizer.lr > 0.01 else far_from_best(config)

    points, search, summaries = run_all(ablation(RUNGS), nowhere)
    assert search.find_best(summaries).values["optimizer.lr"] <= 0.01
    climbed = [p.resolve() for p in points if p.resolve().trainer.max_epochs > 2]
    assert climbed
    assert all(config.optimizer.lr <= 0.01 for config in climbed)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BASE, "search needs a space"),
        (BASE.replace("search: optuna\n", "") + SPACE, "add 'search: optuna'"),
        (BASE + SPACE + "grid: {model.dropout: [0.1]}", "and no variants or grid"),
        (BASE + SPACE + "baseline: mlp", "and no baseline"),
        (RUNGS.replace("[2, 6, 18]", "[2, 6, 6]"), "epochs=[2, 6, 6] must grow from rung to rung"),
        (RUNGS + "set: {trainer.max_epochs: 3}", "trainer.max_epochs is set by epochs"),
        (RUNGS.replace("trials: 9", "seconds: 0"), "seconds"),
        ("experiment: iris_disc\ngrid: {seed: [1]}\nseconds: 5", "seconds is a key of searches"),
        (RUNGS + "seconds: 5", "give trials or seconds, not both"),
        (RUNGS + "choose: val/nll", "choose is a key of families"),
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
