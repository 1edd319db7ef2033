"""`ugmm infer` and `ugmm sample`: a user's file in, answers in its columns and units out."""

import csv
import io
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from ugmm.baselines import QDA, GaussianClasses
from ugmm.cli import main
from ugmm.columns import Column
from ugmm.config.compose import compose
from ugmm.data import TabularDataModule
from ugmm.nn import UGMMNetwork
from ugmm.queries.table import read_given
from ugmm.spec import Spec
from ugmm.stated import Stated
from ugmm.trained import TrainedNetwork

FLOWERS = """petal length;petal width;target
1,4;;
5,1;1,9;virginica
;;
"""
COLUMNS = ["sepal length", "sepal width", "petal length", "petal width", "target"]


@pytest.fixture(scope="module")
def data():
    module = TabularDataModule("iris", val_fraction=0)
    module.setup()
    return module


@pytest.fixture(scope="module")
def network(data):
    qda = QDA()
    model = GaussianClasses(4, 3, 1, qda.parts, qda.free(4, 3))
    model.init_from(*data.splits["train"])
    return TrainedNetwork(model.eval(), data.spec, compose("iris_qda"))


@pytest.fixture
def ask(network, monkeypatch, tmp_path, capsys):
    """Run a command on the network; returns its answer's lines, or what it complained of."""
    given = tmp_path / "flowers.csv"
    given.write_text(FLOWERS)

    def ask(*arguments, of=network, given=given, fails=False):
        monkeypatch.setattr("ugmm.queries.commands.load_asked", lambda run: of)
        taken = [str(given) if argument == "GIVEN" else argument for argument in arguments]
        assert main([taken[0], "runs/some", *taken[1:]]) == int(fails)
        out, error = capsys.readouterr()
        return error.strip() if fails else list(csv.DictReader(io.StringIO(out)))

    return ask


@pytest.fixture
def rows(network):
    known = {"petal length": [1.4, 5.1, None], "petal width": [None, 1.9, None]}
    return network.given(known | {"target": [None, "virginica", None]})


def test_posterior(ask, rows):
    lines = ask("infer", "--query", "posterior", "--given", "GIVEN")
    names = ["setosa", "versicolor", "virginica"]
    found = [[float(line[f"p({name})"]) for name in names] for line in lines]
    np.testing.assert_allclose(found, rows.posterior().probs, rtol=1e-5, atol=1e-9)
    assert [line["target"] for line in lines] == [names[np.argmax(p)] for p in found]
    assert {line["exact"] for line in lines} == {"true"}


def test_marginal(ask, rows):
    lines = ask("infer", "--query", "marginal", "--given", "GIVEN")
    found = [float(line["log_prob"]) for line in lines]
    np.testing.assert_allclose(found, rows.marginal().log_prob, rtol=1e-5, atol=1e-9)
    assert {float(line["error"]) for line in lines} == {0.0}


def test_mpe_keeps_what_is_known(ask, rows):
    lines = ask("infer", "--query", "mpe", "--given", "GIVEN")
    assert list(lines[0])[:5] == COLUMNS
    assert [float(line["petal length"]) for line in lines[:2]] == [1.4, 5.1]
    assert lines[1]["target"] == "virginica"
    assert {line["exact"] for line in lines} == {"false"}
    found = [float(line["sepal width"]) for line in lines]
    np.testing.assert_allclose(found, rows.mpe().rows[:, 1].astype(float), rtol=1e-5)


def test_mpe_tells_what_a_wider_search_adds(ask):
    (line, *_) = ask("infer", "--query", "mpe", "--given", "GIVEN", "--check")
    assert float(line["gap"]) == pytest.approx(0, abs=1e-6)
    error = ask("infer", "--query", "marginal", "--given", "GIVEN", "--check", fails=True)
    assert "--check is of a search" in error


def test_conditional_of_each_number_that_a_row_lacks(ask, rows):
    lines = ask("infer", "--query", "conditional", "--given", "GIVEN")
    assert [(line["row"], line["column"]) for line in lines] == [
        *(("0", name) for name in ("sepal length", "sepal width", "petal width")),
        *(("1", name) for name in ("sepal length", "sepal width")),
        *(("2", name) for name in COLUMNS[:4]),
    ]
    of = rows[torch.tensor([1])].conditional("sepal width")
    assert float(lines[4]["mean"]) == pytest.approx(of.mean.item(), rel=1e-5)
    assert float(lines[4]["sd"]) == pytest.approx(of.stddev.item(), rel=1e-5)
    assert float(lines[4]["error"]) == pytest.approx(of.error.item(), rel=1e-5)
    assert (lines[4]["effective_share"], lines[4]["exact"]) == ("1.0", "true")
    assert float(lines[4]["95%"]) == pytest.approx(of.quantile(0.95).item(), rel=1e-5)


def test_samples_given_rows_say_of_which(ask, tmp_path):
    out = tmp_path / "new" / "drawn.csv"
    assert ask("sample", "-n", "4", "--given", "GIVEN", "--out", str(out)) == []
    lines = list(csv.DictReader(out.open()))
    assert list(lines[0]) == ["row", *COLUMNS]
    assert [line["row"] for line in lines] == [*"0000", *"1111", *"2222"]
    assert {line["petal length"] for line in lines[:4]} == {"1.4"}
    assert {line["target"] for line in lines[4:8]} == {"virginica"}


def test_samples_of_nothing(ask):
    lines = ask("sample", "-n", "5", "--seed", "3")
    assert [list(line) for line in lines] == [COLUMNS] * 5
    assert lines == ask("sample", "-n", "5", "--seed", "3")
    assert lines != ask("sample", "-n", "5", "--seed", "4")


@pytest.mark.parametrize(
    ("method", "n", "told"),
    [
        ("auto", "80", "1 row(s): independent draws"),
        ("gibbs", "64", "a row; R-hat at most "),
        ("metropolis", "80", "a row; R-hat at most "),
        ("metropolis", "20", "a row; R-hat compares at least 2 chains of 4"),
    ],
)
def test_what_draws_are_worth_is_told(network, monkeypatch, capsys, method, n, told):
    pytest.importorskip("arviz_stats", reason="the extra diagnostics is not installed")
    monkeypatch.setattr("ugmm.queries.commands.load_asked", lambda run: network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few draws are worth a warning of their own
        assert main(["sample", "runs/some", "-n", n, "--method", method]) == 0
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == int(n) + 1
    assert told in error
    assert error.count("\n") == 1


def test_without_the_extra_samples_of_chains_are_drawn_all_the_same(network, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "arviz_stats.base", None)
    monkeypatch.setattr("ugmm.queries.commands.load_asked", lambda run: network)
    assert main(["sample", "runs/some", "-n", "160", "--method", "metropolis"]) == 0
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 161
    assert "install ugmm[diagnostics] for the R-hat" in error


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("petal lenght,target\n1.4,\n", "unknown column 'petal lenght'"),
        ("petal length,target\nlong,\n", "column 'petal length' is numeric"),
        ("petal length,target\n1.4,rose\n", "'rose' in row 0, which is no class"),
        ("petal length,target\ninf,\n", "infinite or too large"),
        ("petal length,target\n", "has no rows"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(ask, tmp_path, text, complaint):
    path = tmp_path / "other.csv"
    path.write_text(text)
    error = ask("infer", "--query", "marginal", "--given", str(path), fails=True)
    assert complaint in error
    assert error.startswith("ugmm: error: ")
    assert "\n" not in error


def test_what_cannot_be_asked_is_one_line(ask, data, tmp_path):
    torch.manual_seed(0)
    model = UGMMNetwork([4, 8, 3], kernel="reference").eval()
    of = TrainedNetwork(model, data.spec, compose("iris_disc"), data.splits["train"].x)
    for query in ("marginal", "mpe", "conditional"):
        error = ask("infer", "--query", query, "--given", "GIVEN", of=of, fails=True)
        assert "answers posteriors only" in error
    assert len(ask("infer", "--query", "posterior", "--given", "GIVEN", of=of)) == 3
    assert "at least one row" in ask("sample", "-n", "0", fails=True)
    of_mpe = ("infer", "--query", "mpe", "--given", "GIVEN")
    assert "--draws does nothing" in ask(*of_mpe, "--draws", "9", fails=True)
    error = ask("infer", "--query", "mpe", "--given", str(tmp_path / "no.csv"), fails=True)
    assert "no file at" in error
    assert f"{tmp_path} is a folder; give a file" in ask(
        "infer", "--query", "mpe", "--given", str(tmp_path), fails=True
    )
    error = ask("infer", "--query", "mpe", "--given", "GIVEN", "--out", "", fails=True)
    assert "cannot write .: Is a directory" in error
    assert "n must be at least 1" in ask(
        "infer", "--query", "marginal", "--given", "GIVEN", "--draws", "0", fails=True
    )


def test_what_takes_too_much_memory_is_named(ask, monkeypatch):
    def marginal(*_, **__):
        raise MemoryError

    monkeypatch.setattr("ugmm.given.marginal", marginal)
    error = ask("infer", "--query", "marginal", "--given", "GIVEN", fails=True)
    assert error.endswith("make the largest of --draws, the rows of the file smaller")


@pytest.mark.parametrize("seed", ["-1", str(2**64 - 1), str(10**30)])
def test_any_number_is_a_seed(ask, seed):
    assert len(ask("sample", "-n", "2", "--given", "GIVEN", "--seed", seed)) == 6


def test_a_file_is_read_as_it_is_stated_to_be(network, ask, tmp_path):
    """As `ugmm predict` reads it: as the run's data was, or as options say."""
    czech = tmp_path / "czech.csv"
    czech.write_bytes("petal length;target\n1,4;šťáva\n".encode("cp1250"))
    spec = replace(network.spec, class_names=("šťáva", "versicolor", "virginica"))
    settings = ["data=csv", "data.path=a.csv", "data.label=target", "data.encoding=cp1250"]
    stated = TrainedNetwork(network.network, spec, compose("iris_qda", settings))
    replaced = TrainedNetwork(network.network, spec, network.config)
    query = ("infer", "--query", "marginal", "--given", str(czech))
    known = ask(*query, of=stated)
    assert known == ask(*query, "--encoding", "cp1250", of=replaced)
    czech.write_bytes(b"petal length\n")
    assert "the run has data.encoding='cp1250'; give --encoding if" in ask(
        *query, of=stated, fails=True
    )


def test_a_category_is_no_number_though_its_marks_may_be(tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text("size;length\n1,5;2,5\n")
    spec = Spec(3, ("a", "b"), (Column("size", ("1,5", "3")), Column("length")))
    read = read_given(path, spec, Stated())
    assert {name: values.tolist() for name, values in read.items()} == {
        "size": ["1,5"],
        "length": [2.5],
    }
