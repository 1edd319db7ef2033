"""Nested cross-validation: no leakage, the same metrics again, going on after a kill."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from crossval_cases import QDA_ROW
from sklearn.datasets import load_iris

from ugmm.baselines import BASELINES, QDA, Baseline
from ugmm.cli import main
from ugmm.errors import UserError
from ugmm.studies.crossval import read_crossvalidation
from ugmm.studies.crossval.fits import (
    Candidate,
    Place,
    compute_metrics,
    fit_one,
    split_rows,
)
from ugmm.studies.crossval.nested import choose
from ugmm.studies.crossval.tables import Rows


def rows_of(x, y):
    return Rows(x, y, np.arange(x.shape[1]), tuple(map(str, range(y.max() + 1))))


def fits(folder):
    lines = (folder / "fits.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@dataclass
class Spy(Baseline):
    """Remembers what it was fitted to; fails after some fits, or always with `broken`."""

    number: int = 0
    broken: bool = False
    seen: ClassVar[list] = []
    ends_after: ClassVar[int] = 10**6

    def fit(self, x, y, n_classes, seed):
        if len(self.seen) >= self.ends_after:
            raise KeyboardInterrupt
        self.seen.append((x.copy(), y.copy(), seed))
        if self.broken:
            raise ValueError("it is broken\nand says much")
        return QDA(0.1).fit(x, y, n_classes, seed)


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setitem(BASELINES, "spy", Spy)
    monkeypatch.setattr(Spy, "seen", [])
    return Spy


@pytest.mark.parametrize("inner", [None, 0, 1, 2])
def test_outer_test_rows_never_reach_fit(spy, inner):
    """Whatever stands in them, the model is fitted to the same numbers."""
    x, y = load_iris(return_X_y=True)
    place = Place(5, 3, 7, 2, inner)
    _, outer_test = split_rows(y, Place(5, 3, 7, 2))
    other = x.copy()
    other[outer_test] = np.random.default_rng(0).normal(1e3, 1e3, other[outer_test].shape)
    for features in (x, other):
        fit_one(Candidate({}, Spy()), place, rows_of(features, y))
    (one, _, _), (two, _, _) = spy.seen
    assert np.array_equal(one, two)
    assert len(one) == (120 if inner is None else 80)
    np.testing.assert_allclose(one.mean(0), 0, atol=1e-12)  # standardised by themselves
    np.testing.assert_allclose(one.std(0), 1)


def test_folds_are_disjoint_and_stratified():
    _, y = load_iris(return_X_y=True)
    tested = [split_rows(y, Place(5, 3, 1, fold))[1] for fold in range(5)]
    assert sorted(np.concatenate(tested)) == list(range(150))
    for fold in range(5):
        train, test = split_rows(y, Place(5, 3, 1, fold))
        assert not set(train) & set(test)
        assert np.bincount(y[test]).tolist() == [10, 10, 10]
        inner = [split_rows(y, Place(5, 3, 1, fold, i)) for i in range(3)]
        assert sorted(np.concatenate([test for _, test in inner])) == sorted(train)
        for inner_train, inner_test in inner:
            assert set(inner_train) | set(inner_test) == set(train)
    assert not np.array_equal(tested[0], split_rows(y, Place(5, 3, 2, 0))[1])


def test_a_feature_that_is_constant_in_training_keeps_its_unit(spy):
    """14.63 has no exact mean: rounding leaves it a deviation of 1e-15, which is no scale."""
    x, y = load_iris(return_X_y=True)
    place = Place(5, 3, 0, 0)
    train, _ = split_rows(y, place)
    x[:, 0] = 15.63
    x[train, 0] = 14.63
    found = fit_one(Candidate({}, Spy()), place, rows_of(x, y))
    assert found["error"] is None
    assert found["log_prob"] > -100
    assert np.abs(spy.seen[0][0][:, 0]).max() < 1e-12


def test_a_class_without_a_row_to_fit_to_is_named_with_its_fold():
    x, y = load_iris(return_X_y=True)
    place = Place(5, 3, 0, 1, 2)
    with pytest.raises(UserError, match=r"class 2 has no row to fit to in fold 1, inner fold 2"):
        fit_one(Candidate({}, QDA()), place, rows_of(x, np.where(y == 2, 3, y)))


def test_metrics_by_hand():
    joint = np.log([[0.3, 0.1], [0.2, 0.2], [0.05, 0.15]])
    found = compute_metrics(joint, np.array([0, 1, 1]), normalized=True)
    assert found["accuracy"] == pytest.approx(2 / 3)  # a tie goes to the first class
    assert found["label"] == pytest.approx(np.log([0.75, 0.5, 0.75]).mean())
    assert found["log_prob"] == pytest.approx(np.log([0.3, 0.2, 0.15]).mean())
    assert compute_metrics(joint, np.array([0, 1, 1]), normalized=False)["log_prob"] is None
    with pytest.raises(FloatingPointError, match="label is -inf"):
        compute_metrics(np.array([[0.0, -np.inf]]), np.array([1]), normalized=True)


def test_the_best_candidate_is_chosen_and_failed_ones_are_not():
    def results(*values, name="log_prob"):
        return [{"error": None, "accuracy": 0.5, "label": -1.0, name: v} for v in values]

    bad = [{"error": "no"}, *results(9.0)]
    assert choose([results(-3.0, -1.0), results(-1.0, -2.0), bad], "log_prob") == (1, 1)
    assert choose([results(-1.0), results(-1.0)], "log_prob") == (0, 0)
    assert choose([results(0.8, name="accuracy"), results(0.9, name="accuracy")], "accuracy")[0]
    no_density = [results(-0.4, name="label"), results(-0.3, name="label")]
    assert choose(no_density, "nll")[0] == choose(no_density, "log_prob")[0] == 1
    assert choose([bad, bad], "log_prob") == (None, 2)


def test_candidates_are_all_chosen_by_what_all_of_them_have():
    def results(label, log_prob):
        return [{"error": None, "accuracy": 0.5, "label": label, "log_prob": log_prob}] * 2

    density, score = results(-0.2, -3.0), results(-0.4, None)
    assert choose([score, density], "log_prob") == (1, 0)  # -0.2 beats -0.4; -3 would not
    assert choose([results(-0.1, -4.0), density], "log_prob") == (1, 0)
    failed = [{"error": "no"}, *score]  # says nothing of those that can be chosen
    assert choose([results(-0.1, -4.0), density, failed], "log_prob") == (1, 1)


def test_a_crossvalidation_chooses_fits_and_repeats(crossval):
    models = {"qda": QDA_ROW, "lda": {"baseline": "lda"}}
    folder = crossval(models)
    done = fits(folder)
    assert len(done) == 2 * 3 * (2 * 2 + 1) + 2 * 3  # seeds x folds x (inner + outer), and lda
    outer = [line for line in done if line["inner"] is None and line["model"] == "qda"]
    assert [line["values"]["reg"] for line in outer] == [0.01] * 6
    markdown = (folder / "table.md").read_text()
    assert "reg from 0.5 [0], 0.01 [6]; 2 candidates" in markdown
    assert (folder / "table.csv").read_text().count("\n") == 3

    (folder / "fits.jsonl").unlink()
    crossval(models, "--jobs", "2")  # in other processes, and in another order

    def sorted_results(lines):
        timeless = [{**line, "seconds": 0} for line in lines]
        return sorted(timeless, key=lambda line: line["key"])

    assert sorted_results(fits(folder)) == sorted_results(done)


def test_an_interrupted_crossvalidation_does_only_the_rest(crossval, spy, monkeypatch):
    models = {"spy": {"baseline": "spy", "grid": {"number": [1, 2]}}}
    monkeypatch.setattr(spy, "ends_after", 11)
    assert "interrupted" in crossval(models)
    path = Path("runs/crossval/mine/fits.jsonl")
    with path.open("a") as file:
        file.write('{"key": "cut sho')
    monkeypatch.setattr(spy, "ends_after", 10**6)
    folder = crossval(models)
    total = 2 * 3 * (2 * 2 + 1)
    assert len(spy.seen) == len(fits(folder)) == total
    table = (folder / "table.csv").read_bytes()
    crossval(models)
    assert len(spy.seen) == total  # nothing was left to do
    assert (folder / "table.csv").read_bytes() == table
    crossval({"spy": {"baseline": "spy", "grid": {"number": [1, 3]}}})  # half of it is new
    assert len(spy.seen) == total + 2 * 3 * 2 + sum(
        line["values"] == {"number": 3} and line["inner"] is None for line in fits(folder)
    )


def test_failing_fits_are_reported(crossval, spy, capsys):
    models = {
        "one": {"baseline": "spy", "grid": {"broken": [True, False]}},
        "all": {"baseline": "spy", "grid": {"broken": [True], "number": [1, 2]}},
    }
    folder = crossval(models)
    markdown = (folder / "table.md").read_text()
    assert "| 6/6 |" in markdown
    assert "- all: 6 of 6 fits failed: every candidate failed" in markdown
    assert "- one: 12 inner fits failed" in markdown
    assert "broken from true [0], false [6]" in markdown
    failed = [line for line in fits(folder) if line["error"]]
    assert {line["error"] for line in failed} == {"ValueError: it is broken"}


def test_a_candidate_with_more_components_than_rows_fails_alone(crossval):
    models = {"gmm": {"baseline": "gmm", "grid": {"components": [1, 26]}}}
    folder = crossval(models, folds=2, seeds=[0])  # of 25 rows a class, half are in an inner fold
    outer = [line for line in fits(folder) if line["inner"] is None]
    assert [line["values"]["components"] for line in outer] == [1, 1]
    (error,) = {line["error"] for line in fits(folder) if line["values"]["components"] == 26}
    assert error.startswith("ValueError: components=26: a class has 12 training row(s)")


def test_without_a_choice_nothing_is_said_of_one(crossval):
    folder = crossval({"lda": {"baseline": "lda"}})
    assert len(fits(folder)) == 2 * 3
    assert "chosen inside" not in (folder / "table.md").read_text()
    assert "chosen inside" in (crossval({"qda": QDA_ROW}) / "table.md").read_text()


def test_an_experiment_is_cross_validated(crossval):
    models = {
        "net": {
            "experiment": "iris_disc",
            "set": {"trainer.max_epochs": 8, "model": "mlp"},
            "grid": {"optimizer.lr": [0.0001, 0.05]},
        }
    }
    folder = crossval(models, folds=2, seeds=[0])
    done = fits(folder)
    assert len(done) == 2 * (2 * 2 + 1)
    outer = [line for line in done if line["inner"] is None]
    assert all(line["error"] is None and line["log_prob"] is None for line in outer)
    assert [line["values"] for line in outer] == [{"optimizer.lr": 0.05}] * 2
    assert all(line["accuracy"] > 0.6 for line in outer)
    again = fits(folder)
    (folder / "fits.jsonl").unlink()
    crossval(models, folds=2, seeds=[0])
    assert [line["label"] for line in fits(folder)] == [line["label"] for line in again]


def test_a_density_of_an_experiment_is_normalised(crossval):
    settings = {"trainer.max_epochs": 3, "task.noise": 0.4, "task.z_draws": 4096}
    folder = crossval({"net": {"experiment": "iris_gen", "set": settings}}, folds=2, seeds=[0])
    assert all(line["error"] is None and -9 < line["log_prob"] < 0 for line in fits(folder))


@pytest.mark.parametrize(
    ("models", "keys", "line"),
    [
        ({"q": {"baseline": "qds"}}, {}, "models.q: unknown baseline 'qds'; did you mean qda"),
        ({"q": {"baseline": "qda", "gird": {}}}, {}, "unknown key 'gird'; did you mean grid?"),
        ({"q": {"baseline": "qda", "grid": {"rge": [1]}}}, {}, "unknown key 'rge'; did you mean"),
        ({"q": {"baseline": "qda", "grid": {"reg": [2]}}}, {}, "reg=2.0 must be at least 0 and"),
        ({"q": {"baseline": "qda", "grid": {"reg": ["a"]}}}, {}, "models.q: reg: "),
        ({"q": {"baseline": "qda", "grid": {"reg": 0.1}}}, {}, "grid.reg must be a list"),
        ({"q": {"baseline": "qda", "experiment": "iris_gen"}}, {}, "either a baseline or"),
        ({"q": {"experiment": "iris_gne"}}, {}, "models.q: unknown experiment 'iris_gne'; did"),
        (
            {"q": {"experiment": "iris_gen", "grid": {"task.nose": [1]}}},
            {},
            "models.q: unknown key 'task.nose'; did you mean task.noise",
        ),
        ({"q": QDA_ROW}, {"flods": 3}, "unknown key 'flods'; did you mean folds"),
        ({"q": QDA_ROW}, {"seeds": [1, 1]}, "seeds must be different numbers"),
        ({"q": QDA_ROW}, {"data": "irs"}, "unknown choice data=irs; did you mean iris"),
        ({"q": QDA_ROW}, {"data": "diabetes"}, "data=diabetes has a number to predict, and"),
        ({"q": QDA_ROW}, {"select": "best"}, "select: "),
        ({}, {}, "models must map names"),
        (
            {"q": {**QDA_ROW, "grid": 0}},
            {},
            "models.q: set, grid and gaps must map keys to values",
        ),
        (
            {"q": QDA_ROW},
            {"folds": 51},
            "folds=51 is more than the 50 rows of class 'setosa'",
        ),
        ({"q": QDA_ROW}, {"inner_folds": 34}, "inner_folds=34 is more than the 33 rows of class"),
    ],
)
def test_mistakes_are_one_clear_line(crossval, models, keys, line):
    error = crossval(models, **keys)
    assert line in error
    assert error.startswith("ugmm: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "line", [b"3", b'{"key": 1}', b'{"key": "a", "error": null, "accuracy": []}', b"{", b"\xff"]
)
def test_damaged_fits_are_one_line(crossval, line):
    folder = crossval({"q": {"baseline": "qda"}})
    with (folder / "fits.jsonl").open("ab") as file:
        file.write(line + b"\n")
    error = crossval({"q": {"baseline": "qda"}})
    assert "fits.jsonl is damaged" in error
    assert error.count("\n") == 1


def test_an_unknown_crossvalidation_names_the_nearest(capsys):
    assert main(["crossval", "irsi"]) == 1
    assert "unknown cross-validation 'irsi'; did you mean iris?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_the_crossvalidations_are_valid_and_search_equally(name):
    if importlib.util.find_spec("zuko") is None:
        pytest.skip("zuko is not installed")
    study = read_crossvalidation(name)
    assert {len(model.candidates) for model in study.models.values()} == {4}
