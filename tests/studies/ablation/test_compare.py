"""The command `ugmm compare`, on runs that are made up."""

import math
import shutil
from pathlib import Path

import pytest
import scipy.stats
from compare_cases import TEXT, tables

from ugmm.cli import main
from ugmm.errors import UserError
from ugmm.report.study import plots


def test_the_table_follows_from_the_runs(made_up, capsys):
    made_up()
    assert main(["compare", "mine.yaml", "--vector", "pdf"]) == 0
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
    for name in ("index.html", "final.png", "curves.png", "curves.pdf", "table.md"):
        assert Path("runs/mine/compare", name).is_file()


def test_an_environment_may_say_less(made_up, capsys):
    (point, *_) = made_up().points
    point.run.environment.write_text("{}")
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Commit: unknown (1 run); 0123456789 (23 runs)." in output


def test_runs_that_are_missing_are_named(made_up, capsys):
    made_up(left_out={("dropout", "seed=3 fold=0"), ("dropout", "seed=3 fold=1")})
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "22 of 24 runs are finished" in output
    assert "left out: dropout, seed=3 fold=0; dropout, seed=3 fold=1" in output
    table, runs = tables()
    seeds = runs.groupby(["variant", "seed"])["test/accuracy"].mean().unstack("variant").dropna()
    difference = table.set_index("variant").loc["dropout", "difference"]
    assert difference == pytest.approx((seeds["dropout"] - seeds["plain"]).mean())


def test_runs_of_an_earlier_file_are_left_out(made_up, capsys):
    made_up()
    made_up(TEXT.replace("wide: {model.hidden: [40, 20]}", "wider: {model.hidden: [60, 20]}"))
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "8 runs of an earlier version of the file are left out" in output
    assert list(tables()[0]["variant"]) == ["plain", "dropout", "wider"]


def test_of_two_plans_for_a_name_the_later_counts(made_up):
    old = made_up()
    new = made_up(TEXT + "set: {trainer.max_epochs: 7}\n")
    assert main(["compare", "mine.yaml"]) == 0
    folders = set(tables()[1]["run"])
    assert folders == {str(point.run.folder) for point in new.points}
    assert not folders & {str(point.run.folder) for point in old.points}


def test_a_file_that_is_changed_back_has_its_own_runs_again(made_up):
    changes = ("set: {trainer.max_epochs: 7}\n", "set: {trainer.max_epochs: 9}\n", "")
    points = {change: made_up(TEXT + change).points for change in changes}
    for change in changes:  # unlike the last one, none of these was planned last
        Path("mine.yaml").write_text(TEXT + change)
        assert main(["compare", "mine.yaml"]) == 0
        assert set(tables()[1]["run"]) == {str(point.run.folder) for point in points[change]}


def test_runs_are_not_taken_for_those_of_a_changed_file(made_up, capsys):
    made_up()
    change = "dropout: {model.dropout: 0.4}"
    Path("mine.yaml").write_text(TEXT.replace("dropout: {model.dropout: 0.3}", change))
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "16 of 24 runs are finished" in output
    assert "8 runs of an earlier version of the file are left out" in output
    assert list(tables()[0]["variant"]) == ["plain", "wide"]


def test_a_changed_experiment_is_told(made_up, capsys):
    real = Path("experiments").resolve()
    Path("experiments").unlink()
    shutil.copytree(real, "experiments")
    made_up(TEXT.replace("plain: {}", "plain: {experiment: iris_lda}"))
    assert main(["compare", "mine.yaml"]) == 0
    assert "has changed" not in capsys.readouterr().out
    base = Path("experiments/iris_disc.yaml")
    base.write_text(base.read_text().replace("lr: 0.01", "lr: 0.02"))
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "24 of 24 runs are finished" in output
    assert "has changed since they were planned" in output
    assert "would run them anew: dropout; wide." in output


def test_where_points_run_makes_them_no_others(made_up):
    made_up()
    settings = "set: {tracking.mode: offline, trainer.devices: 2, data: iris}\n"
    Path("mine.yaml").write_text(TEXT + settings)
    assert main(["compare", "mine.yaml"]) == 0
    assert len(tables()[1]) == 24


def test_a_figure_that_is_not_finite_is_left_out_and_named(made_up, capsys):
    also = {
        ("dropout", "seed=1 fold=0"): {"test/accuracy": math.nan},
        ("wide", "seed=2 fold=1"): {"test/nll": math.inf},
    }
    made_up(also=also)
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "24 of 24 runs are finished" in output
    assert "a finite test/accuracy, and left out of it: dropout, seed=1 fold=0." in output
    assert "a finite test/nll, and left out of it: wide, seed=2 fold=1." in output
    table, runs = tables()
    assert runs.isna().sum()[["test/accuracy", "test/nll"]].tolist() == [1, 1]
    # The lost fold is left out of the baseline's seed too, whose mean it would shift.
    both = runs.pivot(index=["seed", "fold"], columns="variant", values="test/accuracy").dropna()
    differences = (both["dropout"] - both["plain"]).groupby("seed").mean()
    row = table.set_index("variant").loc["dropout"]
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["p"] == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue)


def test_a_variant_without_the_metric_is_named(made_up, capsys):
    also = {("wide", f"seed={s} fold={f}"): {"own": 1.0 + s} for s in range(4) for f in (0, 1)}
    made_up(TEXT + "metric: own\ngoal: max\n", also=also)
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "own, and left out of it: plain, seed=0 fold=0;" in output
    assert "and 11 more" in output
    assert list(tables()[0]["variant"]) == ["wide"]


def test_a_baseline_without_runs_is_said_to_be_missing(made_up, capsys):
    lost = {("plain", f"seed={seed} fold={fold}") for seed in range(4) for fold in (0, 1)}
    made_up(left_out=lost)
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "baseline" not in output
    assert "plain, which others are to be compared with, has no figures" in output
    assert "plain, seed=2 fold=0 and 3 more" in output
    assert tables()[0]["difference"].isna().all()


def test_failed_runs_are_told_from_those_to_come(made_up, capsys):
    lost = {("wide", "seed=0 fold=0"), ("wide", "seed=1 fold=0")}
    found = made_up(left_out=lost)
    (failed,) = (p for p in found.points if (p.variant, p.repetition) == min(lost))
    found.open_ledger().write_failure(failed, UserError("the loss is nan"))
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Failed, and left out: wide, seed=0 fold=0." in output
    assert "Not finished, and left out: wide, seed=1 fold=0." in output


def test_names_in_brackets_are_no_markup(made_up, capsys):
    name = "a [bold]b[/] $x_1$"
    made_up(TEXT.replace("wide:", f"'{name}':").replace("Does", "Does [it] cost $5, or"))
    assert main(["compare", "mine.yaml"]) == 0
    output = capsys.readouterr().out
    assert "Does [it] cost $5, or dropout help?" in output
    assert name in output


HOSTILE = """# What =1+1 | is `worth`
experiment: iris_disc
seeds: [0, 1]
variants:
  "=cmd|' /C calc'!A0": {}
  "a|b [x](javascript:1) <b>": {model.dropout: 0.3}
  "\\e[31mred\\a\\u202e": {model.hidden: [20]}
"""


def test_names_are_no_orders_in_any_medium(made_up, capsys):
    made_up(HOSTILE)
    assert main(["ablate", "mine.yaml", "--dry-run"]) == 0
    assert main(["compare", "mine.yaml"]) == 0
    output = capsys.readouterr().out
    assert r"\x1b[31mred\x07\u202e" in output
    folder = Path("runs/mine/compare")
    texts = [(folder / name).read_text() for name in ("table.csv", "runs.csv", "table.md")]
    for text in (output, *texts, (folder / "index.html").read_text()):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    names = ["'=cmd|' /C calc'!A0", "a|b [x](javascript:1) <b>", r"\x1b[31mred\x07\u202e"]
    for table in tables():
        assert list(table["variant"].unique()) == names
    assert r"| a\|b [x\](javascript:1) \<b> |" in texts[-1]


def test_a_damaged_summary_is_one_line(made_up, capsys):
    run = made_up().points[3].run
    run.summary.write_text("{")
    assert main(["compare", "mine.yaml"]) == 1
    error = capsys.readouterr().err
    assert f"{run.summary} is damaged" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("metric: test/acuracy\n", "no run has the metric 'test/acuracy'; did you mean test/acc"),
        ("metric: seconds\n", "say which way seconds is better: goal: max, or goal: min"),
        ("metric: seconds\ngoal: least\n", "goal"),
    ],
)
def test_mistakes_are_one_clear_line(made_up, capsys, text, line):
    made_up()
    Path("mine.yaml").write_text(TEXT + text)
    assert main(["compare", "mine.yaml"]) == 1
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_a_metric_of_ones_own_has_a_goal(made_up):
    made_up()
    Path("mine.yaml").write_text(TEXT + "metric: seconds\ngoal: min\n")
    assert main(["compare", "mine.yaml"]) == 0
    table, runs = tables()
    plain = runs[runs["variant"] == "plain"]
    assert table["best_run"][0] == plain.loc[plain["seconds"].idxmin(), "run"]


def test_nothing_has_been_run(made_up, capsys):
    Path("mine.yaml").write_text(TEXT)
    assert main(["compare", "mine.yaml"]) == 1
    assert "holds no finished run of mine.yaml; start it with: ugmm abl" in capsys.readouterr().err
    assert not Path("runs").exists()


NUMBERS = """# Do neurons predict diabetes better than a plane?
experiment: diabetes_reg
seeds: [0, 1, 2]
metric: test/crps
report: [test/r2, test/coverage_90]
variants:
  neurons: {}
  plane: {model: linear_regression}
  quantiles: {model.head: quantiles, task.objective: crps, trainer.monitor: val/crps}
"""


def test_how_the_metric_falls_along_a_size(made_up, root, capsys):
    sizes = {"ugmm 5": 100, "ugmm 10": 200, "ugmm 20": 400}
    entries = [f"  {name}: {{model.hidden: [{name[5:]}]}}\n" for name in sizes]
    also = {
        (name, f"seed={seed}"): {"parameters": size, "test/accuracy": 1 - seed / size}
        for name, size in sizes.items()
        for seed in (1, 2)
    }
    text = "# Q\nexperiment: iris_disc\nalong: parameters\nseeds: [1, 2]\nvariants:\n"
    text += "".join(entries)
    made_up(text, also=also)
    assert main(["compare", "mine.yaml", "--publish"]) == 0
    said = "ugmm: 1 - test/accuracy goes as parameters to the power -1.00 (-1.00 to -1.00)"
    assert said in " ".join(capsys.readouterr().out.split())
    assert f"{said}, over 3 sizes." in (root / "experiments" / "RESULTS.md").read_text()
    page = Path("runs/mine/compare/index.html").read_text()
    assert "test/accuracy along parameters, a dot a run, a line a family" in page
    assert main(["compare", "mine.yaml", "--published"]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    made_up(text.replace("along: parameters", "along: parameter"), also=also)
    assert main(["compare", "mine.yaml"]) == 1
    assert "no run has the metric 'parameter'; did you mean parameters" in capsys.readouterr().err


def test_numbers_are_compared_with_the_least_as_the_best(made_up, capsys, monkeypatch):
    shown = []
    draw = plots.validation_curves

    def seen(histories, metrics, *others):
        shown.append(metrics)
        return draw(histories, metrics, *others)

    monkeypatch.setattr(plots, "validation_curves", seen)
    found = made_up(NUMBERS)
    for place, point in enumerate(found.points):
        crps = 30.0 + 4 * (point.variant == "plane") + place % 3
        point.run.write_summary(
            {"test/crps": crps, "test/r2": 0.5, "test/coverage_90": 0.875, "seconds": 1.0}
        )
        rows = "\n".join(f"{epoch},{epoch},{40 - epoch},{6 - epoch / 10}" for epoch in range(4))
        point.run.metrics.write_text(f"epoch,step,val/crps,val/nlpd\n{rows}\n")
    assert main(["compare", "mine.yaml"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "test/coverage_90 (%)" in output
    assert "87.50 ± 0.00" in output
    assert "neurons has the best test/crps" in output
    assert shown == [["val/crps", "val/nlpd"]]
    assert tables()[0]["mean"].tolist() == [31, 35, 31]
