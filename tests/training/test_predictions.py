"""The file of a test's answers: the rows as the user has them, and the summary's own figures."""

import csv
import math

import numpy as np
import pytest

import ugmm
from ugmm.errors import UserError

LABELLED = {
    "iris_disc": (),
    "iris_gen": (),
    "iris_lda": (),
    "iris_paper": ("data.fold=3", "trainer.limit_test_batches=1", "data.batch_size=16"),
}


@pytest.mark.parametrize("experiment", LABELLED)
def test_it_has_the_summarys_accuracy_and_nll(trained, experiment):
    run = trained(experiment, *LABELLED[experiment])
    rows, summary = run.read_predictions(), run.read_summary()
    pairs = list(zip(rows["truth"], rows["prediction"], strict=True))
    assert np.mean([a == b for a, b in pairs]) == pytest.approx(summary["test/accuracy"])
    of_truth = [rows[f"p({name})"][row] for row, name in enumerate(rows["truth"])]
    assert -np.log(of_truth).mean() == pytest.approx(summary["test/nll"], rel=1e-5)
    assert all(a < b for a, b in zip(rows["row"][:-1], rows["row"][1:], strict=True))
    if "trainer.limit_test_batches=1" in LABELLED[experiment]:
        assert len(pairs) == 15  # of 30


@pytest.mark.parametrize("experiment", ["iris_disc", "iris_gen"])
def test_it_says_what_the_loaded_network_says_of_those_rows(trained, experiment):
    from sklearn.datasets import load_iris

    iris, run = load_iris(), trained(experiment)
    rows, network = run.read_predictions(), ugmm.load(run.folder)
    x = iris.data[rows["row"]]
    assert rows["truth"] == iris.target_names[iris.target[rows["row"]]].tolist()
    assert rows["prediction"] == network.predict(x).tolist()
    probabilities = np.transpose([rows[f"p({name})"] for name in network.class_names])
    np.testing.assert_allclose(probabilities, network.posterior(x), rtol=1e-3, atol=1e-6)
    assert ("log_density" in rows) == network.network.normalized
    if network.network.normalized:
        np.testing.assert_allclose(rows["log_density"], network.log_prob(x), rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """60 rows, every seventh without a value, of classes of 40, 17 and 3 rows; and blank lines."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "table.csv"
    names = np.repeat(["many", "some", "few"], [40, 17, 3])
    generator.shuffle(names)
    lines = [
        f"{'' if row % 7 == 0 else row},{generator.normal():.3f},{name}"
        for row, name in enumerate(names, start=1)
    ]
    path.write_text("\n\n".join(["number,chance,kind", *lines]))
    return path


def test_rows_of_a_csv_file_are_counted_below_its_names(train, table):
    settings = ("data=csv", f"data.path={table}", "data.missing=drop", "data.types.number=numeric")
    run = train("iris_disc", *settings, "data.label=kind", "data.rare=drop", "data.folds=4")
    with table.open() as file:
        lines = {int(line["number"]): line for line in csv.DictReader(file) if line["number"]}
    rows = run.read_predictions()
    assert 8 < len(rows["row"]) < 15
    assert rows["truth"] == [lines[row]["kind"] for row in rows["row"]]
    assert set(rows["truth"]) == {"many", "some"}
    few = {row for row, line in lines.items() if line["kind"] == "few"}
    assert not few & set(rows["row"])


def test_numbers_are_in_the_users_units(trained):
    from sklearn.datasets import load_diabetes

    diabetes, run = load_diabetes(scaled=False), trained("diabetes_reg")
    rows, network = run.read_predictions(), ugmm.load(run.folder)
    x, y = diabetes.data[rows["row"]], diabetes.target[rows["row"]]
    np.testing.assert_allclose(rows["truth"], y, rtol=1e-6)
    np.testing.assert_allclose(rows["prediction"], network.predict(x), rtol=1e-4)
    ends = np.transpose([rows["lower_90"], rows["upper_90"]])
    np.testing.assert_allclose(ends, network.interval(x), rtol=1e-3)
    off = np.subtract(rows["truth"], rows["prediction"])
    assert math.sqrt((off**2).mean()) == pytest.approx(run.read_summary()["test/rmse"], rel=1e-5)


def test_a_density_without_a_label_says_how_likely_rows_are(train):
    run = train("iris_gen", "task.label=none")
    assert list(run.read_predictions()) == ["row", "log_density"]


def test_a_damaged_file_is_one_line_and_a_missing_one_is_none(trained):
    run = trained("iris_disc")
    run.predictions.write_text(run.predictions.read_text() + "31,setosa\n")
    with pytest.raises(UserError, match=r"predictions\.csv is damaged .*; remove it"):
        run.read_predictions()
    run.predictions.unlink()
    assert run.read_predictions() is None
