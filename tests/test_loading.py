"""A trained network that takes rows as the user has them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris
from sklearn.model_selection import StratifiedKFold

import ugmm
from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.data import IrisDataModule, MNISTDataModule
from ugmm.errors import UserError
from ugmm.loading import load_network
from ugmm.runs import Run
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork
from ugmm.training.run import evaluate

FLOWERS, SPECIES = load_iris(return_X_y=True)
NAMES = load_iris().target_names
TRAIN, TEST = next(StratifiedKFold(5, shuffle=True, random_state=0).split(FLOWERS, SPECIES))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train once for several tests; returns the run."""

    def train(experiment, *overrides):
        runs = tmp_path_factory.mktemp("runs")
        command = ["train", experiment, f"runs_dir={runs}", "trainer.accelerator=cpu"]
        assert main([*command, *overrides]) == 0
        (folder,) = runs.glob("*/*")
        return Run.open(folder)

    return train


@pytest.fixture(scope="module")
def iris_gen(trained):
    return trained(
        "iris_gen", "trainer.max_epochs=50", "task.z_draws=4096", "data.val_fraction=0",
        "trainer.test_checkpoint=last",
    )  # fmt: skip


@pytest.fixture(scope="module")
def iris_disc(trained):
    return trained("iris_disc", "trainer.max_epochs=50")


@pytest.fixture(scope="module")
def garden_csv(tmp_path_factory):
    """Flowers with a name, gaps and a column of words."""
    path = tmp_path_factory.mktemp("data") / "flowers.csv"
    flowers = pd.DataFrame(
        {
            "id": [f"f{i}" for i in range(150)],
            "length": FLOWERS[:, 2],
            "garden": np.array(["Oslo", "Rome", None])[np.arange(150) % 7 % 3],
            "kind": NAMES[SPECIES],
        }
    )
    flowers.loc[::11, "length"] = None
    flowers.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def gardens(trained, garden_csv):
    return trained(
        "iris_disc", "trainer.max_epochs=25", "data=csv", f"data.path={garden_csv}",
        "data.label=kind", "data.types={id: drop}", "data.missing=mean",
    )  # fmt: skip


def untrained(experiment, spec, *overrides):
    config = compose(experiment, overrides)
    network = config.task.network(config.model, spec.n_features, spec.n_classes)
    return TrainedNetwork(network.eval(), spec, config)


def without_spec(run, tmp_path):
    """Copy a run as an earlier version would have left it."""
    run = Run.open(shutil.copytree(run.folder, tmp_path / "runs" / "group" / run.id))
    run.spec.unlink()
    for path in run.checkpoints.iterdir():
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint["ugmm"]["spec"]
        torch.save(checkpoint, path)
    return run


def test_rows_are_taken_as_the_user_has_them(iris_gen):
    names = ugmm.load(iris_gen.folder).predict([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]])
    assert isinstance(names, np.ndarray)
    assert names.tolist() == ["setosa", "virginica"]


@pytest.mark.parametrize("experiment", ["iris_gen", "iris_disc"])
def test_raw_test_rows_have_the_accuracy_of_the_test(request, experiment):
    run = request.getfixturevalue(experiment)
    network = ugmm.load(run.folder)
    summary = run.read_summary()
    rows, labels = FLOWERS[TEST], SPECIES[TEST]
    right = network.predict(rows) == NAMES[labels]
    assert right.mean() == pytest.approx(summary["test/accuracy"])
    posterior = network.posterior(torch.from_numpy(rows))
    assert network.class_names == tuple(NAMES)
    own = posterior[torch.arange(len(rows)), torch.from_numpy(labels)]
    assert -own.log().mean().item() == pytest.approx(summary["test/nll"], rel=1e-4)
    frame = load_iris(as_frame=True).frame.iloc[TEST]
    torch.testing.assert_close(network.posterior(frame), posterior, rtol=0, atol=0)
    torch.testing.assert_close(network.class_scores(rows).softmax(-1), posterior)
    assert not network.network.training


def test_the_density_of_raw_rows_is_that_of_the_test(iris_gen):
    network = ugmm.load(iris_gen.folder)
    rows, labels = FLOWERS[TEST], torch.from_numpy(SPECIES[TEST])
    own = network.posterior(rows)[torch.arange(len(rows)), labels].log()
    joint = (network.log_prob(rows) + own).mean().item()
    assert joint == pytest.approx(iris_gen.read_summary()["test/log_prob_raw"], abs=1e-4)


def test_the_log_density_is_that_of_raw_units(trained):
    """QDA commutes with a change of units: fitted to raw rows, it is the same density."""
    run = trained("iris_qda", "trainer.max_epochs=1", "data.val_fraction=0", "seed=0")
    network = ugmm.load(run.folder)
    joint = []
    for c in range(3):
        rows = FLOWERS[TRAIN][SPECIES[TRAIN] == c]
        joint.append(multivariate_normal(rows.mean(0), np.cov(rows.T)).logpdf(FLOWERS[TEST]))
    expected = logsumexp(np.array(joint) + np.log(1 / 3), axis=0)
    np.testing.assert_allclose(network.log_prob(FLOWERS[TEST]), expected, atol=1e-4)


def test_a_density_integrates_to_one_in_raw_units():
    """One feature in metres: without the Jacobian the integral is 0.004."""
    spec = Spec(1, ("a", "b"), mean=(0.02,), std=(0.004,))
    network = untrained("iris_gen", spec, "model.init=unit", "task.z_draws=65536")
    x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
    network.network.fit_base(x, (x[:, 0] > 0).long())
    grid = np.linspace(0.02 - 0.04, 0.02 + 0.04, 20001)
    density = network.log_prob(grid[:, None]).double().exp().numpy()
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=0.01)


def test_draws_are_raw_rows_and_names(iris_gen):
    network = ugmm.load(iris_gen.folder)
    none = network.sample(0)
    assert (none.rows.shape, none.labels.shape) == ((0, 4), (0,))
    with pytest.raises(UserError, match="-1 rows cannot be drawn"):
        network.sample(-1)
    rows, labels = network.sample(3000, torch.Generator().manual_seed(0))
    assert rows.shape == (3000, 4)
    assert set(labels) == set(NAMES)
    np.testing.assert_allclose(rows.mean(0), FLOWERS[TRAIN].mean(0), atol=0.25)
    agree = (network.predict(rows) == labels).mean()
    assert agree > 0.9


def test_networks_say_what_they_cannot_do():
    data = IrisDataModule()
    data.setup()
    plain, unlabelled = (
        untrained("iris_disc", data.spec),
        untrained("iris_gen", data.spec, "task.label=none", "task.z_draws=1024"),
    )
    with pytest.raises(UserError, match="is no density"):
        plain.log_prob(FLOWERS)
    with pytest.raises(UserError, match="cannot be drawn from"):
        plain.sample(3)
    unlabelled.network.fit_base(torch.randn(50, 4), torch.zeros(50, dtype=torch.int64))
    for ask in (unlabelled.predict, unlabelled.posterior):
        with pytest.raises(UserError, match="knows no classes"):
            ask(FLOWERS)
    assert unlabelled.sample(5).labels is None
    assert unlabelled.log_prob(FLOWERS).shape == (150,)


def test_images_may_be_uint8():
    network = untrained("mnist_disc", MNISTDataModule().describe_rows())
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    posterior = network.posterior(images)
    assert torch.equal(posterior, network.posterior(images.reshape(3, 784) / 255))
    assert network.predict(images[0]).tolist() == [str(posterior[0].argmax().item())]


def test_a_table_with_words_and_gaps_is_read_as_it_is(gardens, garden_csv):
    network = ugmm.load(gardens.folder)
    frame = pd.read_csv(garden_csv)
    config = network.config
    data = config.data.build(config.seed)
    data.setup()
    served = load_network(gardens.folder)
    accuracy = (served.predict(data.splits["test"].x) == data.splits["test"].y).float().mean()
    _, test = next(StratifiedKFold(5, shuffle=True, random_state=0).split(frame, frame.kind))
    right = network.predict(frame)[test] == frame.kind[test]
    assert right.mean() == pytest.approx(accuracy.item())
    assert network.spec == data.spec


def test_a_network_trained_on_gaps_takes_rows_with_gaps(trained, garden_csv):
    run = trained(
        "iris_disc", "trainer.max_epochs=25", "data=csv", f"data.path={garden_csv}",
        "data.label=kind", "data.types={id: drop}", "data.missing=keep", "seed=1",
        "model.input_dropout=0.2",
    )  # fmt: skip
    network = ugmm.load(run.folder)
    frame = pd.read_csv(garden_csv)
    data = network.config.data.build(1)
    data.setup()
    x, y = data.splits["test"]
    assert x.isnan().any(0).all()
    with torch.no_grad():
        served = load_network(run.folder).class_scores(x)
    assert (served.argmax(-1) == y).float().mean().item() == run.read_summary()["test/accuracy"]
    assert run.read_summary()["test/accuracy"] > 0.85
    assert (network.predict(frame) == frame.kind).mean() > 0.85
    shares = data.splits["train"].y.bincount() / len(data.splits["train"].y)
    for nothing in ([[None, None]], {"length": [np.nan], "garden": [""]}, {"length": ["?"]}):
        torch.testing.assert_close(network.posterior(nothing)[0], shares)
    again, _ = evaluate(run)
    assert again["test/nll"] == pytest.approx(run.read_summary()["test/nll"])


@pytest.mark.parametrize("model", ["ugmm", pytest.param("autoregressive", marks=pytest.mark.slow)])
def test_a_density_trained_on_gaps_knows_what_is_known(trained, garden_csv, model):
    task = {"ugmm": "generative", "autoregressive": "likelihood"}[model]
    run = trained(
        "iris_gen", "trainer.max_epochs=8", "task.z_draws=1024", "data=csv", "data.label=kind",
        f"data.path={garden_csv}", "data.types={id: drop}", "data.missing=keep", f"model={model}",
        f"task={task}", "model.hidden=[4,3]", "data.val_fraction=0",
        "trainer.test_checkpoint=last",
    )  # fmt: skip
    network = ugmm.load(run.folder)
    frame = pd.read_csv(garden_csv).iloc[TEST]
    y = SPECIES[TEST]
    own = network.posterior(frame)[torch.arange(len(y)), torch.from_numpy(y)].log()
    joint = (network.log_prob(frame) + own).mean().item()
    assert joint == pytest.approx(run.read_summary()["test/log_prob_raw"], abs=0.01)
    nothing = {"length": [None]}
    assert network.log_prob(nothing).item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(
        network.posterior(nothing), torch.full((1, 3), 1 / 3), atol=0.2, rtol=0
    )
    assert (run.plots / "samples.png").is_file()
    assert np.isfinite(run.read_rows()).all()  # where a search for the most probable row begins
    assert len(network.given(nothing).mpe().rows) == 1


def test_a_run_says_what_its_rows_are(gardens):
    saved = Spec.from_json(json.loads(gardens.spec.read_text()))
    assert saved == ugmm.load(gardens.folder, "last").spec
    assert [column.name for column in saved.columns] == ["length", "garden"]
    assert (saved.label, saved.ignored) == ("kind", ("id",))
    for path in (gardens.best, gardens.last):
        assert Spec.from_json(torch.load(path, weights_only=True)["ugmm"]["spec"]) == saved


def test_it_is_said_before_training_starts(train, tmp_path):
    assert "nan" in train("iris_disc", "optimizer.name=sgd", "optimizer.lr=1e6")
    (path,) = tmp_path.rglob("spec.json")
    assert Spec.from_json(json.loads(path.read_text())).class_names == tuple(NAMES)


def test_a_checkpoint_of_no_name_is_one_line(iris_disc):
    with pytest.raises(UserError, match="no checkpoint 'worst'; name 'best' or 'last'"):
        ugmm.load(iris_disc.folder, "worst")


def test_the_bare_network_is_in_its_own_units(iris_disc):
    network = ugmm.load(iris_disc.folder)
    x = torch.from_numpy(network.spec.encode(FLOWERS))
    bare = load_network(iris_disc.folder)
    assert torch.equal(bare.posterior(x), network.posterior(FLOWERS))
    assert torch.equal(network.network.posterior(x), network.posterior(FLOWERS))


def test_runs_from_before_go_on(iris_disc, tmp_path, capfd):
    run = without_spec(iris_disc, tmp_path)
    with pytest.raises(UserError, match=r"train again, or .*load_network\(run\)") as caught:
        ugmm.load(run.folder)
    assert "\n" not in str(caught.value)
    assert load_network(run.folder).predict(torch.zeros(2, 4)).shape == (2,)
    capfd.readouterr()
    assert main(["eval", str(run.folder)]) == 0
    assert f"{iris_disc.read_summary()['test/accuracy']:.2%}" in capfd.readouterr().out
    run.summary.unlink()
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert run.read_summary()["test/nll"] == iris_disc.read_summary()["test/nll"]
    # The data module knows what the rows are, so that the folder now says so.
    assert ugmm.load(run.folder).predict(FLOWERS[:1]).tolist() == ["setosa"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("length", "width", "where a feature was 'length', and the data now has 'width' in its"),
        ("Rome", "Bern", "where a feature was 'garden=Oslo', and the data now has 'garden=Bern'"),
        ("setosa", "rosa", "where a class was 'setosa', and the data now has 'rosa' in its"),
    ],
)
def test_a_table_that_has_changed_is_one_line(
    gardens, garden_csv, tmp_path, capfd, old, new, line
):
    run = Run.open(shutil.copytree(gardens.folder, tmp_path / gardens.id))
    run.summary.unlink()
    before = garden_csv.read_text()
    garden_csv.write_text(before.replace(old, new))
    try:
        capfd.readouterr()
        for command in (["eval"], ["train", "--resume"]):
            assert main([*command, str(run.folder)]) == 1
            error = capfd.readouterr().err
            assert line in error
            assert error.count("\n") == 1
    finally:
        garden_csv.write_text(before)


def test_a_checkpoint_or_a_folder_of_runs_stands_for_a_run(iris_disc, tmp_path, capsys):
    folder = tmp_path / "group" / "run"
    shutil.copytree(iris_disc.folder, folder)
    assert load_network(folder.parent)
    assert capsys.readouterr().err == f"the newest run of {folder.parent} is {folder}\n"
    run = Run.open(folder)
    run.best.unlink()
    assert ugmm.load(run.last).spec == ugmm.load(str(run.last)).spec
    with pytest.raises(UserError, match=r"no checkpoint at .*best\.ckpt"):
        ugmm.load(run.best)
    with pytest.raises(UserError, match=r"best\.ckpt"):
        ugmm.load(folder)
