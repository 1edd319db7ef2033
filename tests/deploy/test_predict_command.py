"""The commands `ugmm predict` and `ugmm eval --data`, on files of rows."""

import io
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import ugmm
from ugmm.cli import main
from ugmm.deploy.predicting.outputs import check_output


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_answers_never_take_the_place_of_the_rows(name, tmp_path, monkeypatch, capsys):
    rows, link, copy = tmp_path / name, tmp_path / f"link-{name}", tmp_path / f"copy-{name}"
    rows.write_text("a\n1\n")
    copy.write_text("a\n1\n")
    link.symlink_to(rows)
    monkeypatch.chdir(tmp_path)
    for data, out in [(str(rows), name), (name, str(link)), (str(link), name)]:
        assert main(["predict", "no-run", data, "--out", out]) == 1
        error = capsys.readouterr().err
        assert f"--out {out} is the file of the rows; name another" in error
    check_output(str(copy), name)
    check_output(str(copy), "-")


def test_a_mistyped_command_is_told_before_the_rows_are_read(trained, tmp_path, capsys):
    rows = tmp_path / "rows.csv"
    rows.write_bytes(b"BZh")  # refused as soon as it is looked at
    reg, gen = (str(trained(name).folder) for name in ("diabetes_reg", "iris_gen"))
    for arguments, line in [
        (["no-run"], "no-run"),
        ([gen, "--level", "0.5"], "--level is of a predicted number's interval"),
        ([reg, "--level", "90"], "level=90.0 must be between 0 and 1"),
        ([reg], "is packed by bzip2"),
    ]:
        assert main(["predict", *arguments[:1], str(rows), *arguments[1:]]) == 1
        assert line in capsys.readouterr().err


@pytest.fixture
def iris_rows(tmp_path):
    """Iris, shuffled, with a number for each row and names of another order."""
    from sklearn.datasets import load_iris

    iris = load_iris(as_frame=True)
    frame = iris.frame.assign(id=range(150), target=iris.target_names[iris.target]).sample(
        frac=1, random_state=0
    )
    path = tmp_path / "iris.csv"
    frame[["target", *frame.columns[:4][::-1], "id"]].to_csv(path, index=False)
    return path, frame


def test_the_command_answers_as_the_loaded_network_does(trained, iris_rows, capfd, monkeypatch):
    path, frame = iris_rows
    run, x = trained("iris_gen"), frame.iloc[:, :4].to_numpy()
    capfd.readouterr()
    assert main(["predict", str(run.folder), str(path), "--keep", "id"]) == 0
    output = capfd.readouterr()
    assert not output.err
    found, network = pd.read_csv(io.StringIO(output.out)), ugmm.load(run.folder)
    classes = [f"p({name})" for name in network.class_names]
    assert list(found) == ["id", "prediction", *classes, "log_density"]
    assert (found["id"] == frame["id"].to_numpy()).all()
    assert (found["prediction"] == network.predict(x)).all()
    np.testing.assert_allclose(found[classes], network.posterior(x), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found["log_density"], network.log_prob(x), rtol=1e-4, atol=1e-3)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    out = path.with_name("answers.parquet")
    assert main(["predict", str(run.folder), "-", "--keep", "id", "--out", str(out)]) == 0
    np.testing.assert_allclose(pq.read_table(out)["p(setosa)"], found["p(setosa)"], rtol=1e-4)
    assert main(["predict", str(run.folder), str(path)]) == 1
    assert "unknown column 'id'; leave it out, name it by --keep" in capfd.readouterr().err
    assert main(["predict", str(run.folder), str(path), "--keep", "id", "--level", "0.5"]) == 1
    assert "--level is of a predicted number's interval" in capfd.readouterr().err


def test_numbers_come_with_the_interval_that_is_asked_for(trained, tmp_path, capfd):
    from sklearn.datasets import load_diabetes

    run, frame = trained("diabetes_reg"), load_diabetes(scaled=False, as_frame=True).frame
    path = tmp_path / "a.csv"
    frame.rename(columns={"target": "progression"}).to_csv(path, index=False)
    assert main(["predict", str(run.folder), str(path), "--level", "0.5"]) == 0
    found, network = pd.read_csv(io.StringIO(capfd.readouterr().out)), ugmm.load(run.folder)
    assert list(found) == ["prediction", "lower_50", "upper_50"]
    x = frame.iloc[:, :10].to_numpy()
    np.testing.assert_allclose(found["prediction"], network.predict(x), rtol=1e-4)
    np.testing.assert_allclose(found.iloc[:, 1:], network.interval(x, 0.5), rtol=1e-4)

    assert main(["eval", str(run.folder), "--data", str(path)]) == 0
    off = network.predict(x) - frame["target"].to_numpy()
    assert f"{np.sqrt((off**2).mean()):.4g}" in capfd.readouterr().out


def test_eval_tests_on_other_rows(trained, iris_rows, capfd):
    path, frame = iris_rows
    run = trained("iris_gen")
    frame.drop(columns="id").to_csv(path, index=False)
    before = sorted(run.folder.rglob("*"))
    # All rows are tested, whatever part the run's own test took.
    frozen = run.config.read_text()
    partly = frozen.replace("limit_test_batches: null", "limit_test_batches: 1")
    partly = re.sub(r"batch_size: \d+", "batch_size: 7", partly)
    assert "limit_test_batches: 1\n" in partly
    assert "batch_size: 7" in partly
    run.config.write_text(partly)
    assert main(["eval", str(run.folder), "--data", str(path)]) == 0
    network = ugmm.load(run.folder)
    right = network.predict(frame.iloc[:, :4].to_numpy()) == frame["target"]
    output = capfd.readouterr().out
    assert f"{right.mean():.2%}" in output
    assert "log_prob_raw" in output
    assert sorted(run.folder.rglob("*")) == before
    for change, line in [
        (("setosa", "setosaa"), "'setosaa' in row 3, which is no class; did you mean setosa?"),
        (("setosa", ""), "column 'target' has no value in row 3; leave out such rows"),
        (("target", "species"), "has no column 'target' to test by; add it, or rename it"),
    ]:
        text = frame.drop(columns="id").to_csv(index=False)
        path.write_text(text.replace(*change))
        assert main(["eval", str(run.folder), "--data", str(path)]) == 1
        assert line in capfd.readouterr().err
