"""An ONNX file answers as the run does that it was made of, in the user's columns and units."""

import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris

from ugmm import load
from ugmm.config.compose import compose
from ugmm.deploy import to_onnx
from ugmm.deploy.exports.check import largest_difference
from ugmm.errors import UserError
from ugmm.nn import UGMMNetwork
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def ask(path, inputs):
    session = session_of(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def columns_of(rows):
    return {name: column.to_numpy(np.float64) for name, column in rows.items()}


def iris():
    rows = load_iris(as_frame=True).data
    return rows.rename(columns=lambda name: name.removesuffix(" (cm)"))


@pytest.mark.parametrize("experiment", ["iris_disc", "iris_gen"])
def test_classes(exported, experiment):
    run, path = exported("onnx", experiment)
    network, rows = load(run.folder), iris()
    for n in (1, 7, 1000):
        some = rows.sample(n, replace=True, random_state=n)
        found = ask(path, columns_of(some))
        np.testing.assert_allclose(found["probabilities"], network.posterior(some), atol=1e-5)
        assert found["label"].tolist() == network.predict(some).tolist()
        if network.network.normalized:
            np.testing.assert_allclose(found["log_density"], network.log_prob(some), rtol=1e-5)
    assert ("log_density" in found) == network.network.normalized


def test_numbers(exported):
    run, path = exported("onnx", "diabetes_reg")
    network, rows = load(run.folder), load_diabetes(as_frame=True, scaled=False).data
    found, close = ask(path, columns_of(rows)), 1e-5 * network.spec.target.std
    np.testing.assert_allclose(found["mean"], network.predict(rows), atol=close)
    ends = np.stack([found["lower_90"], found["upper_90"]], -1)
    np.testing.assert_allclose(ends, network.interval(rows, 0.9), atol=close)
    stddev = network.predictive(rows).variance.sqrt()
    np.testing.assert_allclose(found["stddev"], stddev, atol=close)


class TestTexts:
    """A table with a text column, in which values may be missing."""

    def test_rows(self, exported, table):
        run, path = exported("onnx", "iris_disc", *table)
        network = load(run.folder)
        rows = pd.DataFrame(
            {
                "width": [1.0, np.nan, 3.5, np.nan],
                "age": [20.0, 30.0, np.nan, np.nan],
                "colour": ["red", "light blue", "NA", ""],
            }
        )
        inputs = columns_of(rows[["width", "age"]]) | {"colour": rows["colour"].to_numpy(object)}
        found = ask(path, inputs)
        np.testing.assert_allclose(found["probabilities"], network.posterior(rows), atol=1e-5)
        assert found["label"].tolist() == network.predict(rows).tolist()

    def test_what_is_refused_has_no_answer(self, exported, table):
        run, path = exported("onnx", "iris_disc", *table)
        rows = {"width": [1.0, np.inf, 1.0], "age": [20.0] * 3, "colour": ["red", "red", "pink"]}
        found = ask(path, {name: np.array(values) for name, values in rows.items()})
        assert found["label"].tolist() == [
            load(run.folder).predict([[1.0, 20.0, "red"]])[0],
            "",
            "",
        ]
        assert np.isnan(found["probabilities"][1:]).all()
        assert np.isfinite(found["probabilities"][0]).all()


def test_missing_numbers_are_filled_or_refused(exported):
    _, path = exported("onnx", "iris_disc")
    rows = iris()[:2].copy()
    rows.iloc[1, 0] = np.nan
    found = ask(path, columns_of(rows))
    assert np.isfinite(found["probabilities"][0]).all()
    assert np.isnan(found["probabilities"][1]).all()
    assert found["label"][1] == ""


def test_it_says_what_it_is(exported):
    run, path = exported("onnx", "iris_disc")
    model = onnx.load(path)
    noted = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    assert noted["ugmm.run"] == run.id
    assert noted["ugmm.metrics"] == run.read_summary()
    assert noted["ugmm.classes"] == ["setosa", "versicolor", "virginica"]
    assert Spec.from_json(noted["ugmm.spec"]) == load(run.folder).spec
    assert model.producer_name == "ugmm"
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"}
    assert not any(each.external_data for each in model.graph.initializer)


def make(spec, sizes=(2, 4, 2), **options):
    torch.manual_seed(0)
    network = UGMMNetwork(list(sizes), **options).eval()
    return TrainedNetwork(network, spec, compose("iris_disc"))


def named(*names):
    column = {"categories": (), "unit": "", "fill": None}
    columns = [{"name": name, **column} for name in names]
    return Spec.from_json(
        {"n_features": len(names), "class_names": ["a", "b"], "columns": columns}
    )


def test_columns_may_have_names_of_values_within(tmp_path):
    trained = make(named("sub", "add 1"))
    to_onnx(trained, tmp_path / "model.onnx")
    rows = np.random.default_rng(0).normal(size=(5, 2))
    found = ask(tmp_path / "model.onnx", {"sub": rows[:, 0], "add 1": rows[:, 1]})
    np.testing.assert_allclose(found["probabilities"], trained.posterior(rows), atol=1e-5)


def test_a_column_of_an_outputs_name_is_refused(tmp_path):
    with pytest.raises(UserError, match="column 'label' has the name of an output; rename it"):
        to_onnx(make(named("label", "age")), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_images(tmp_path):
    spec = Spec(16, ("0", "1"), image_shape=(4, 4), pixel_range=(0.0, 1.0))
    trained = make(spec, (16, 5, 2), norm="layer")
    to_onnx(trained, tmp_path / "model.onnx")
    rows = np.random.default_rng(0).random((9, 16), dtype=np.float32)
    found = ask(tmp_path / "model.onnx", {"rows": rows})
    np.testing.assert_allclose(found["probabilities"], trained.posterior(rows), atol=1e-5)
    refused = ask(tmp_path / "model.onnx", {"rows": 255 * rows})
    assert np.isnan(refused["probabilities"]).all()


def test_an_export_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    def wrong(model, values):
        return {"probabilities": np.full((len(values["a"]), 2), 0.5), "label": None}

    monkeypatch.setattr("ugmm.deploy.exports.export.run_onnx", wrong)
    with pytest.raises(UserError, match="so nothing was written"):
        to_onnx(make(named("a", "b")), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_bound_on_differences():
    spec = named("a", "b")
    expected = {"probabilities": np.array([[0.5, 0.5]]), "log_density": np.array([-1000.0])}
    found = {"probabilities": np.array([[0.5, 0.500001]]), "log_density": np.array([-1000.002])}
    assert largest_difference(found, expected, spec) == pytest.approx(2e-6)
    found["log_density"] = np.array([np.nan])
    with pytest.raises(UserError, match="by inf"):
        largest_difference(found, expected, spec)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_finite_on_one_side_only_differs(value):
    finite, other = {"log_density": np.zeros(2)}, {"log_density": np.array([0.0, value])}
    for found, expected in ((finite, other), (other, finite)):
        with pytest.raises(UserError, match="by inf"):
            largest_difference(found, expected, named("a", "b"))
    assert largest_difference(other, other, named("a", "b")) == 0


@pytest.mark.parametrize("name", ["b", "", "c"])
def test_other_labels_differ(name):
    probabilities = np.array([[0.6, 0.4], [0.500001, 0.499999]])
    expected = {"probabilities": probabilities, "label": np.array(["a", "a"])}
    found = {**expected, "label": np.array([name, "a"])}
    with pytest.raises(UserError, match=f"label '{name}', and not 'a'"):
        largest_difference(found, expected, named("a", "b"))
    found["label"] = np.array(["a", "b"])  # as likely
    assert largest_difference(found, expected, named("a", "b")) == 0
    found["label"] = np.array(["a"])
    with pytest.raises(UserError, match="by its labels"):
        largest_difference(found, expected, named("a", "b"))
