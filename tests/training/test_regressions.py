"""Predicting a number, from the command line to the pictures and back to the user's units."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import ugmm
from ugmm.cli import main
from ugmm.errors import UserError
from ugmm.loading import load_network
from ugmm.nn import Regressor
from ugmm.tasks import RegressionTask
from ugmm.trained import TrainedRegressor

QUICK = ("model.hidden=[8]", "data.batch_size=32")


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A table whose price is a number of the rooms, the garden and chance."""
    generator = np.random.default_rng(0)
    rooms, garden = generator.integers(1, 9, 90), generator.integers(0, 2, 90)
    price = 1000 * (80 + 40 * rooms + 30 * garden + 10 * generator.normal(size=90))
    path = tmp_path_factory.mktemp("table") / "houses.csv"
    frame = pd.DataFrame({"rooms": rooms, "garden": np.array(["no", "yes"])[garden]})
    frame["price"] = price.round(2)
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def own_table(houses):
    return ("data=csv", f"data.path={houses}", "data.target=price", *QUICK)


def test_a_run_on_a_table_of_ones_own(train_and_draw, own_table, houses, capfd):
    run = train_and_draw("diabetes_reg", *own_table, "trainer.max_epochs=40")
    pictures = {path.stem for path in run.plots.iterdir()}
    assert pictures == {"training", "predictions", "calibration", "neurons"}
    summary = run.read_summary()
    names = ("r2", "rmse", "mae", "nlpd", "crps", "coverage_90")
    assert {f"{split}/{name}" for split in ("val", "test") for name in names} < set(summary)
    assert summary["test/r2"] > 0.5
    assert not run.confusion.exists()

    capfd.readouterr()
    assert main(["eval", str(run.folder)]) == 0
    assert "coverage_90" in capfd.readouterr().out

    # The same figures, from the loaded network and the rows as they are in the file.
    network, frame = ugmm.load(run.folder), pd.read_csv(houses)
    assert isinstance(network, TrainedRegressor)
    data = ugmm.config.compose.compose("diabetes_reg", own_table).data.build(0)
    data.setup()
    target = data.target
    of_test = data.splits["test"].y.double().numpy() * target.std + target.mean
    tested = frame[np.isclose(frame["price"].to_numpy()[:, None], of_test).any(1)]
    assert len(tested) == 18
    predicted = network.predict(tested)  # the target's column may be there
    off = tested["price"].to_numpy() - predicted
    assert np.sqrt(np.square(off).mean()) == pytest.approx(summary["test/rmse"], rel=1e-4)
    low, high = network.interval(tested, 0.9).T
    held = ((low <= tested["price"]) & (tested["price"] <= high)).mean()
    assert held == pytest.approx(summary["test/coverage_90"])
    y = torch.from_numpy(tested["price"].to_numpy())
    nlpd = -network.predictive(tested).log_prob(y).mean()
    assert float(nlpd) == pytest.approx(summary["test/nlpd"], rel=1e-4)
    one = network.predict({"rooms": [3], "garden": ["yes"]})
    assert one.shape == (1,)
    assert one.dtype == np.float64


def test_it_is_loaded_in_every_way(trained):
    run = trained("diabetes_reg", *QUICK)
    bare, task = load_network(run.folder), ugmm.load_task(run.folder)
    assert isinstance(bare, Regressor)
    assert isinstance(task, RegressionTask)
    x = torch.randn(3, 10)
    again = RegressionTask.load_from_checkpoint(run.best).eval()
    for other in (task, again):
        torch.testing.assert_close(other(x), bare.predict(x))
    network = ugmm.load(run.folder)
    raw = network.spec.decode(x)
    target = network.spec.target
    expected = target.mean + target.std * bare.predict(x).double().numpy()
    np.testing.assert_allclose(network.predict(raw), expected, rtol=1e-5)
    assert json.loads(run.spec.read_text())["target"]["name"] == "progression"


def test_what_only_classes_have_is_one_line(trained, capfd, tmp_path):
    run = trained("diabetes_reg", *QUICK)
    network = ugmm.load(run.folder)
    for name in ("posterior", "class_scores", "log_prob", "given", "sample", "class_names"):
        with pytest.raises(UserError, match=f"predicts a number, and has no {name}; ask it by"):
            getattr(network, name)
    assert not hasattr(network, "posterior")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        network.nothing  # noqa: B018
    with pytest.raises(UserError, match=r"level=1\.5 must be between 0 and 1"):
        network.interval(np.zeros((1, 10)), 1.5)
    rows = tmp_path / "rows.csv"
    rows.write_text("age,bmi\n50,\n")
    for command in (
        ["infer", str(run.folder), "--query", "posterior", "--given", str(rows)],
        ["sample", str(run.folder), "-n", "2"],
        ["complete", str(run.folder)],
    ):
        assert main(command) == 1, command
        error = capfd.readouterr().err
        assert "predicts a number from whole rows" in error
        assert error.count("\n") == 1


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(train, monkeypatch):
    settings = (*QUICK, "trainer.max_epochs=6")
    whole = train("diabetes_reg", *settings)
    epochs = []

    def stop(self, trainer, task):
        epochs.append(trainer.current_epoch)
        if len(epochs) == 4:
            raise RuntimeError("a power cut")

    monkeypatch.setattr("ugmm.training.callbacks.SeedEpochs.on_train_epoch_end", stop)
    with pytest.raises(RuntimeError, match="a power cut"):
        train("diabetes_reg", *settings)
    (left,) = set(whole.folder.parent.iterdir()) - {whole.folder}
    resumed = type(whole).open(left)
    assert not resumed.has_ended
    assert main(["train", "--resume", str(left)]) == 0
    same = {**whole.read_summary(), "seconds": 0}
    assert {**resumed.read_summary(), "seconds": 0} == same


@pytest.mark.parametrize(
    ("experiment", "settings", "line"),
    [
        (
            "iris_disc",
            ["data=diabetes"],
            "task=discriminative is about classes, and data=diabetes",
        ),
        (
            "diabetes_reg",
            ["data=iris"],
            "task=regression predicts a number, and data=iris has none",
        ),
        (
            "diabetes_reg",
            ["model=ugmm"],
            "model=ugmm with task=regression: it tells classes apart",
        ),
        (
            "iris_disc",
            ["model=regression"],
            "model=regression with task=discriminative: it predicts",
        ),
        ("iris_gen", ["model=mlp_regression"], "model=mlp_regression with task=generative: it"),
        (
            "diabetes_reg",
            ["trainer.monitor=val/accuracy"],
            "here a validation measures val/r2, val/",
        ),
        (
            "diabetes_reg",
            ["model.head=quantiles"],
            "model.head=quantiles: that head predicts no den",
        ),
        (
            "diabetes_reg",
            ["task.objective=pinball"],
            "predicts no quantiles; use task.objective=nl",
        ),
        (
            "diabetes_reg",
            ["model.head=quantiles", "task.objective=crps"],
            "val/nlpd: here a validation measures val/r2, val/rmse, val/mae, val/crps; choose",
        ),
        ("diabetes_reg", ["model.levels=[0.5,0.4]"], "model.levels must be two or more numbers"),
        (
            "iris_disc",
            ["trainer.monitor=val/nlpd"],
            "here a validation measures val/accuracy, val/n",
        ),
        (
            "diabetes_reg",
            ["data=csv", "data.path=t.csv", "data.target=a", "data.label=b"],
            "data.label=b with data.target=a: rows have either classes or a number",
        ),
        (
            "diabetes_reg",
            ["data=csv", "data.path=t.csv", "data.target=a", "data.rare=drop"],
            "data.rare=drop is of classes; leave it out with data.target",
        ),
        (
            "diabetes_mlp",
            ["data=csv", "data.path=t.csv", "data.target=a", "data.missing=keep"],
            "model=mlp_regression with data.missing=keep: it needs a value in every cell",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(train, experiment, settings, line):
    assert line in train(experiment, *settings)


@pytest.mark.parametrize(
    "settings",
    [
        ("model.head=mixture",),
        ("model.head=gaussian", "task.objective=crps"),
        ("model.head=quantiles", "task.objective=pinball", "trainer.monitor=val/crps"),
        ("model=mlp_regression",),
        ("model=linear_regression", "schedule.name=plateau", "schedule.patience=1"),
        ("model.init=data", "trainer.early_stopping.patience=1", "trainer.monitor=val/r2"),
    ],
)
def test_every_head_and_model_trains(train, settings):
    assert "test/crps" in train("diabetes_reg", *QUICK, *settings).read_summary()


def test_rows_may_lack_values(train, houses, tmp_path):
    frame = pd.read_csv(houses)
    frame.loc[::7, "rooms"] = np.nan
    path = tmp_path / "gaps.csv"
    frame.to_csv(path, index=False)
    settings = ("data=csv", f"data.path={path}", "data.target=price", *QUICK)
    run = train("diabetes_reg", *settings, "data.missing=keep")
    predicted = ugmm.load(run.folder).predict({"rooms": [None, 3], "garden": ["yes", None]})
    assert np.isfinite(predicted).all()
