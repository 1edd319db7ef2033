"""Families: each is tuned by a search of its own, and what it found best is compared."""

import json
import shutil

import pytest

from ugmm.cli import main
from ugmm.errors import UserError
from ugmm.studies.ablation import plan_ablation

pytest.importorskip("optuna", reason="optuna is not installed: searches are not tested")

from ugmm.studies.ablation import compare
from ugmm.studies.ablation.searching.search import Search, settle
from ugmm.studies.ablation.searching.trials import Ended

TEXT = """# Which is best?
experiment: mnist_disc
seeds: [1, 2]
report: [val/nll]
search: optuna
choose: val/nll
seconds: 24
epochs: [2, 6]
set: {data.batch_size: 300}
families:
  ugmm: {space: {optimizer.lr: {low: 0.001, high: 0.1, log: true}}}
  mlp:
    experiment: mnist_mlp
    epochs: [3, 9]
    space: {optimizer.lr: [0.01, 0.05], model.norm: [none, layer]}
"""


def end(points, accuracy=0.9):
    """Make up the runs of points, which are the better the nearer their rate is to 0.05."""
    for point in points:
        if point.run.summary.is_file():
            continue
        config = point.resolve()
        summary = {
            "val/nll": abs(config.optimizer.lr - 0.05) + 1 / config.trainer.max_epochs,
            "test/accuracy": accuracy + 0.01 * config.seed + 0.02 * (config.model.name == "mlp"),
            "seconds": float(config.trainer.max_epochs),
            "parameters": 10,
        }
        point.run.folder.mkdir(parents=True)
        point.run.summary.write_text(json.dumps(summary))


def tune(ablation):
    for search in ablation.searches.values():
        ledger = search.open_ledger()
        while Search(search, ledger).ask(Ended.read(ledger)):
            end(ledger.read_points())


def test_each_family_is_searched_by_validation_on_a_seed_of_its_own(ablation):
    mine = ablation(TEXT)
    tune(mine)
    assert list(mine.searches) == ["ugmm", "mlp"]
    for name, search in mine.searches.items():
        points = search.open_ledger().read_points()
        assert {p.config["seed"] for p in points} == {0}
        assert {p.config["data"]["batch_size"] for p in points} == {300}
        assert {p.config["model"]["name"] for p in points} == {name}
        assert {p.run.folder.parent.name for p in points} == {f"mine-{name}"}
        epochs = {p.config["trainer"]["max_epochs"] for p in points}
        assert epochs == ({2, 6} if name == "ugmm" else {3, 9})


def test_the_best_of_each_is_trained_for_as_long_as_it_was_with_new_seeds(ablation):
    mine = ablation(TEXT)
    tune(mine)
    settled, notes = settle(mine)
    assert settled.variants["mlp"]["optimizer.lr"] == 0.05
    assert settled.variants["mlp"]["trainer.max_epochs"] == 9
    assert [p.name for p in settled.points] == [
        "ugmm seed=1", "ugmm seed=2", "mlp seed=1", "mlp seed=2",
    ]  # fmt: skip
    assert notes[1].startswith("mlp: the best of ")
    assert "val/nll 0.1111 after 9 epochs: optimizer.lr=0.05, model.norm=" in notes[1]


def test_what_was_chosen_is_compared_on_the_test_rows(ablation, capsys, monkeypatch, tmp_path):
    mine = ablation(TEXT)
    tune(mine)
    settled, _ = settle(mine)
    settled.open_ledger().extend(settled.points)
    end(settled.points)
    monkeypatch.setattr(compare, "project_root", lambda: tmp_path / "elsewhere")
    assert main(["compare", "mine.yaml", "--publish"]) == 0
    output = capsys.readouterr().out.partition("the same as a page")[0]
    assert "mlp has the best test/accuracy, 93.50%" in output
    assert "mlp: the best of " in output
    kept = tmp_path / "elsewhere" / "experiments" / "published" / "searches"
    for name, search in mine.searches.items():
        lines = (kept / f"mine-{name}.csv").read_text().splitlines()
        assert lines[0].startswith("variant,seed,fold,val/nll,seconds,parameters")
        assert len(lines) == 1 + len(search.open_ledger().read_points())
    shutil.rmtree("runs")
    assert main(["compare", "mine.yaml", "--published"]) == 0
    assert capsys.readouterr().out == output


def test_nothing_is_compared_before_the_searches_are_over(ablation):
    mine = ablation(TEXT)
    with pytest.raises(UserError, match="the search of ugmm is not over; go on with: ugmm ablate"):
        settle(mine)
    tune(mine)
    settle(mine)


def test_one_command_tunes_and_compares(ablation, monkeypatch, capsys):
    ablation(TEXT)
    monkeypatch.setattr("ugmm.studies.ablation.command.run_workers", make_up_all)
    assert main(["ablate", "mine.yaml"]) == 0
    output = capsys.readouterr().out
    assert output.index("tuning ugmm") < output.index("tuning mlp") < output.index("4 done; runs")
    assert output.endswith("compare the variants with: ugmm compare mine.yaml\n")
    assert plan_ablation("mine.yaml")[1] == 0
    assert main(["ablate", "mine.yaml"]) == 0  # nothing is left to do
    again = capsys.readouterr().out
    assert "started" not in again
    assert main(["compare", "mine.yaml"]) == 0


def make_up_all(ablation, ledger, *_, **__):
    """Stand in for workers: end all that is planned, and ask for more."""
    while True:
        end(ledger.read_points())
        if not ablation.space or not Search(ablation, ledger).ask(Ended.read(ledger)):
            return []


def test_who_ends_last_compares_though_others_ended_searches_meanwhile(
    ablation, monkeypatch, capsys
):
    mine = ablation(TEXT)

    def work(search, ledger, *_, **__):
        """Find ugmm's search taken; those who have it end it while this one is at the next."""
        if search.name == "mine-ugmm":
            Search(search, ledger).ask(Ended.read(ledger))
            return []
        if search.name == "mine-mlp":
            tune(mine)
        return make_up_all(search, ledger)

    monkeypatch.setattr("ugmm.studies.ablation.command.run_workers", work)
    assert main(["ablate", "mine.yaml", "--no-wait"]) == 0
    assert capsys.readouterr().out.endswith("compare the variants with: ugmm compare mine.yaml\n")


def test_a_family_of_which_nothing_ends_is_told(ablation, monkeypatch, capsys):
    ablation(TEXT)

    def fail(ablation, ledger, *_, **__):
        while Search(ablation, ledger).ask(Ended.read(ledger)):
            for point in ledger.find_unfinished(ledger.read_points()):
                ledger.write_failure(point, ValueError("no memory"))
        return []

    monkeypatch.setattr("ugmm.studies.ablation.command.run_workers", fail)
    assert main(["ablate", "mine.yaml"]) == 1
    error = capsys.readouterr().err
    assert "no trial of ugmm has ended with a number for a score, such as: ValueError: no" in error
    assert "ugmm ablate" in error
    assert "--retry" in error


def test_a_plan_shows_what_each_family_searches(ablation, capsys):
    ablation(TEXT)
    assert main(["ablate", "mine.yaml", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert output.count("as many trials as 24 s of training allow, within:") == 2


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("search: optuna\n", "", "families are searched: add 'search: optuna'"),
        ("seeds: [1, 2]", "seeds: [0, 1]", "search_seed=0 is one of the seeds"),
        ("choose: val/nll", "choose: test/nll", "searching by test/nll: what the test rows chose"),
        ("choose: val/nll\n", "", "searching by nothing"),
        ("families:", "space: {model.dropout: [0.1]}\nfamilies:", "families have a space each"),
        ("families:", "grid: {model.dropout: [0.1]}\nfamilies:", "no variants or grid"),
        ("families:", "baseline: mpl\nfamilies:", "no family is called 'mpl'; did you mean mlp?"),
        ("epochs: [3, 9]", "epochs: [9, 3]", "epochs=[9, 3] must grow from rung to rung"),
        ("epochs: [3, 9]", "epochs: [many]", "families.mlp: epochs"),
        ("space: {optimizer.lr: [0.01, 0.05]", "set: {optimizer.lr: [0.01]", "needs a space"),
        ("mnist_mlp", "mnist_mpl", "mnist_mpl"),
        ("  mlp:", "  ugmm+:", "of mine-ugmm and mine-ugmm+ would lie in one folder"),
        ("experiment: mnist_mlp", "experiment: iris_disc", "which rows of data=iris are tested"),
        ("model.norm", "model.nrom", "unknown key 'model.nrom'"),
    ],
)  # fmt: skip
def test_mistakes_of_families_are_one_clear_line(ablation, old, new, line):
    assert old in TEXT
    with pytest.raises(UserError) as mistake:
        ablation(TEXT.replace(old, new))
    assert line in str(mistake.value)
    assert "\n" not in str(mistake.value)
