"""Families: each is tuned by a search of its own, and what it found best is compared."""

import json
import shutil

import pytest

from ugmm.cli import main
from ugmm.errors import UserError

pytest.importorskip("optuna", reason="optuna is not installed: searches are not tested")

from ugmm.studies.ablation import compare
from ugmm.studies.ablation.searching.search import Search, settle

TEXT = """# Which is best?
experiment: iris_disc
seeds: [1, 2]
report: [val/nll]
search: optuna
choose: val/nll
seconds: 24
epochs: [2, 6]
set: {data.fold: 3}
families:
  ugmm: {space: {optimizer.lr: {low: 0.001, high: 0.1, log: true}}}
  mlp:
    model: mlp
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
        while Search(search, ledger).ask(ledger.read_summaries(ledger.read_points())):
            end(ledger.read_points())


def test_each_family_is_searched_by_validation_on_a_seed_of_its_own(ablation):
    mine = ablation(TEXT)
    tune(mine)
    assert list(mine.searches) == ["ugmm", "mlp"]
    for name, search in mine.searches.items():
        points = search.open_ledger().read_points()
        assert {p.config["seed"] for p in points} == {0}
        assert {p.config["data"]["fold"] for p in points} == {3}
        assert {p.config["model"]["name"] for p in points} == {name}
        assert {p.run.folder.parent.name for p in points} == {f"mine-{name}"}
        epochs = {p.config["trainer"]["max_epochs"] for p in points}
        assert epochs == ({2, 6} if name == "ugmm" else {3, 9})


def test_the_best_of_each_is_trained_as_long_as_the_last_rung_with_new_seeds(ablation):
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
        ("model: mlp", "model: mpl", "mpl"),
        ("model.norm", "model.nrom", "unknown key 'model.nrom'"),
    ],
)  # fmt: skip
def test_mistakes_of_families_are_one_clear_line(ablation, old, new, line):
    assert old in TEXT
    with pytest.raises(UserError) as mistake:
        ablation(TEXT.replace(old, new))
    assert line in str(mistake.value)
    assert "\n" not in str(mistake.value)
