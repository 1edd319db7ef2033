"""The command `ugmm compare`, on runs that are made up."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ugmm.cli import main
from ugmm.experiment import compare as command
from ugmm.experiment.ablation import read_ablation

TEXT = """# Does dropout help?
experiment: iris_disc
seeds: [0, 1, 2, 3]
folds: [0, 1]
report: [test/nll]
variants:
  plain: {}
  dropout: {model.dropout: 0.3}
  wide: {model.hidden: [40, 20]}
"""


@pytest.fixture
def ablation(tmp_path, monkeypatch):
    """Plan an ablation and make up its runs, less those that `left_out` names."""
    for folder in ("configs", "experiments"):
        (tmp_path / folder).symlink_to(Path(__file__).parents[2] / folder)
    monkeypatch.chdir(tmp_path)

    def make(text=TEXT, left_out=()):
        Path("mine.yaml").write_text(text)
        found = read_ablation("mine.yaml")
        found.plan().extend(found)
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
            if named not in left_out and not point.run.folder.exists():
                make_up(point.run, figures)
        return found

    return make


def make_up(run, figures, epochs=4):
    run.folder.mkdir(parents=True)
    run.write_summary(figures)
    git = {"commit": "0123456789abcdef", "dirty": False}
    environment = {"git": git, "platform": "Linux", "cpus": 2}
    run.environment.write_text(json.dumps(environment))
    lines = [f"{epoch},{epoch},{0.9 + epoch / 100},{1 / (epoch + 1)}" for epoch in range(epochs)]
    run.metrics.write_text("\n".join(["epoch,step,val/accuracy,val/nll", *lines]) + "\n")


def tables():
    folder = Path("runs/mine/compare")
    return pd.read_csv(folder / "table.csv"), pd.read_csv(folder / "runs.csv")


def test_the_table_follows_from_the_runs(ablation, capsys):
    ablation()
    assert main(["compare", "mine.yaml"]) == 0
    table, runs = tables()
    seeds = runs.groupby(["variant", "seed"])[["test/accuracy", "test/nll"]].mean()
    assert list(table["variant"]) == ["plain", "dropout", "wide"]
    base = seeds.loc["plain", "test/accuracy"]
    for _, row in table.iterrows():
        own = seeds.loc[row["variant"]]
        assert row["runs"] == 8
        assert row["mean"] == pytest.approx(own["test/accuracy"].mean())
        assert row["deviation"] == pytest.approx(own["test/accuracy"].std())
        assert row["test/nll_mean"] == pytest.approx(own["test/nll"].mean())
        assert row["test/nll_deviation"] == pytest.approx(own["test/nll"].std())
        mine = runs[runs["variant"] == row["variant"]]
        assert row["best_run"] == mine.loc[mine["test/accuracy"].idxmax(), "run"]
        if row["variant"] != "plain":
            test = scipy.stats.ttest_rel(own["test/accuracy"], base)
            assert row["p"] == pytest.approx(test.pvalue)
            interval = test.confidence_interval()
            assert (row["difference_low"], row["difference_high"]) == pytest.approx(interval)
    output = capsys.readouterr().out
    assert "24 of 24 runs are finished" in output
    assert f"{100 * base.mean():.2f} ±" in output
    for name in ("index.html", "final.png", "curves.png", "table.md"):
        assert Path("runs/mine/compare", name).is_file()


def test_runs_that_are_missing_are_named(ablation, capsys):
    ablation(left_out={("dropout", "seed=3 fold=0"), ("dropout", "seed=3 fold=1")})
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "22 of 24 runs are finished" in output
    assert "left out: dropout, seed=3 fold=0; dropout, seed=3 fold=1" in output
    table, runs = tables()
    seeds = runs.groupby(["variant", "seed"])["test/accuracy"].mean().unstack("variant").dropna()
    difference = table.set_index("variant").loc["dropout", "difference"]
    assert difference == pytest.approx((seeds["dropout"] - seeds["plain"]).mean())


def test_runs_of_an_earlier_file_are_left_out(ablation, capsys):
    ablation()
    ablation(TEXT.replace("wide: {model.hidden: [40, 20]}", "wider: {model.hidden: [60, 20]}"))
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "8 runs of an earlier version of the file are left out" in output
    assert list(tables()[0]["variant"]) == ["plain", "dropout", "wider"]


def test_of_two_plans_for_a_name_the_later_counts(ablation):
    old = ablation()
    new = ablation(TEXT + "set: {trainer.max_epochs: 7}\n")
    assert main(["compare", "mine.yaml"]) == 0
    folders = set(tables()[1]["run"])
    assert folders == {str(point.run.folder) for point in new.points}
    assert not folders & {str(point.run.folder) for point in old.points}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("metric: test/acuracy\n", "no run has a figure 'test/acuracy'; did you mean test/acc"),
        ("metric: seconds\n", "say which way seconds is better: goal: max, or min"),
        ("metric: seconds\ngoal: least\n", "goal"),
    ],
)
def test_mistakes_are_one_clear_line(ablation, capsys, text, line):
    ablation()
    Path("mine.yaml").write_text(TEXT + text)
    assert main(["compare", "mine.yaml"]) == 1
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_a_metric_of_ones_own_has_a_goal(ablation):
    ablation()
    Path("mine.yaml").write_text(TEXT + "metric: seconds\ngoal: min\n")
    assert main(["compare", "mine.yaml"]) == 0
    table, runs = tables()
    plain = runs[runs["variant"] == "plain"]
    assert table["best_run"][0] == plain.loc[plain["seconds"].idxmin(), "run"]


def test_nothing_has_been_run(ablation, capsys):
    Path("mine.yaml").write_text(TEXT)
    assert main(["compare", "mine.yaml"]) == 1
    assert "holds no finished run of mine.yaml; start them by ugmm abl" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_published_section_replaces_its_own(ablation, monkeypatch, tmp_path):
    ablation()
    root = tmp_path / "elsewhere"
    (root / "experiments" / "ablations").mkdir(parents=True)
    monkeypatch.setattr(command, "project_root", lambda: root)
    path = root / "experiments" / "ablations" / "RESULTS.md"
    path.write_text("# Mine\n\n<!-- other -->\nkept\n<!-- /other -->\n")
    for _ in range(2):
        assert main(["compare", "mine.yaml", "--publish"]) == 0
    text = path.read_text()
    assert text.startswith("# Mine\n\n<!-- other -->\nkept\n<!-- /other -->\n\n<!-- mine -->\n")
    assert text.count("## Does dropout help?") == 1
    assert "| plain | 4 |" in text
    assert (root / "docs" / "images" / "ablations" / "mine.png").is_file()
