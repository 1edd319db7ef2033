"""A whole run in this process: what its folder holds, that it repeats, and how it fails."""

import csv

import pytest
import torch

import ugmm
from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.config.frozen import read_config
from ugmm.errors import UserError
from ugmm.loading import load_network


def weights(run, name="last"):
    checkpoint = torch.load(run.checkpoints / f"{name}.ckpt", weights_only=True)
    return checkpoint["state_dict"]


def test_pictures_are_also_vector_graphics_if_wanted(train_and_draw):
    run = train_and_draw("iris_disc", "plots.vector=svg")
    pictures = {kind: {p.stem for p in run.plots.glob(f"*.{kind}")} for kind in ("png", "svg")}
    assert pictures["png"] == pictures["svg"] > {"training", "confusion"}
    assert len(list(run.plots.iterdir())) == 2 * len(pictures["png"])
    assert "vector" not in run.folder.name  # how a run is drawn is not what it is


@pytest.mark.parametrize("experiment", ["iris_gen", "iris_paper", "iris_disc"])
def test_a_run_folder_holds_everything(train_and_draw, experiment):
    run = train_and_draw(experiment)
    assert read_config(run).experiment == experiment
    assert run.read_environment()["packages"]["ugmm"] == ugmm.__version__
    summary = run.read_summary()
    expected = {
        f"{split}/{name}" for split in ("val", "test") for name in ("accuracy", "nll", "ece")
    }
    assert expected <= set(summary)
    assert summary["steps"] == 4
    assert 0 <= summary["test/accuracy"] <= 1
    pictures = {path.stem for path in run.plots.iterdir()}
    drawn = {"samples"} if experiment != "iris_disc" else set()
    assert pictures == {"training", "confusion", "reliability", "neurons"} | drawn
    saved = {"best.ckpt", "last.ckpt", "last-1.ckpt"}
    assert {path.name for path in run.checkpoints.iterdir()} == saved
    rows = run.read_metrics()
    assert [row["epoch"] for row in rows if row["val/accuracy"] is not None] == [1, 3]
    with run.metrics.open() as file:
        assert next(csv.reader(file))[:2] == ["epoch", "step"]


def test_the_trained_network_comes_back(trained):
    run = trained("iris_disc")
    network = load_network(run.folder)
    config = read_config(run)
    data = config.data.build(config.seed)
    data.setup()
    x, y = data.splits["test"]
    accuracy = (network.predict(x) == y).float().mean().item()
    assert accuracy == pytest.approx(run.read_summary()["test/accuracy"])
    assert not network.training


def test_the_same_command_gives_the_same_numbers(train):
    settings = ("model.dropout=0.3", "trainer.log_every_n_steps=1")
    one, two = train("iris_disc", *settings), train("iris_disc", *settings)
    assert one.metrics.read_bytes() == two.metrics.read_bytes()
    first, second = weights(one), weights(two)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = weights(train("iris_disc", *settings, "seed=1"))
    assert not torch.equal(first["network.layers.0.loc"], other["network.layers.0.loc"])


def test_eval_repeats_the_test(trained, capfd):
    run = trained("iris_gen")
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert main(["eval", str(run.folder)]) == 0
    accuracy = run.read_summary()["test/accuracy"]
    assert f"{accuracy:.2%}" in capfd.readouterr().out
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def test_a_rare_class_is_lost_loudly_and_won_by_its_weight(train, trained, tmp_path, capfd):
    """Of 120 rows 10 are of the class b, beside the others but not among them."""
    path = tmp_path / "table.csv"
    rows = [f"{i % 11 / 10},a" for i in range(110)] + [f"{0.8 + i / 20},b" for i in range(10)]
    path.write_text("\n".join(["x,y", *rows]))
    settings = (
        *("data=csv", f"data.path={path}", "data.label=y", "data.val_fraction=0"),
        *("trainer.test_checkpoint=last", "trainer.max_epochs=40"),
    )
    run = train("iris_disc", *settings)
    assert run.read_confusion() == (["a", "b"], [[22, 0], [2, 0]])
    capfd.readouterr()
    lost = "WARNING: in the test, no row of class 'b' (0 of 2) was classified correctly"
    for command in (["eval", str(run.folder)], ["train", "--resume", str(run.folder)]):
        assert main(command) == 0
        assert lost in capfd.readouterr().out
    run.write_confusion(["a", "b"], [[22, 0], [0, 2]])  # as of another checkpoint
    assert main(["eval", str(run.folder)]) == 0
    assert lost in capfd.readouterr().out
    weighed = train("iris_disc", *settings, "task.class_weights=balanced")
    (plain, other) = (r.read_summary()["test/balanced_accuracy"] for r in (run, weighed))
    assert plain == 0.5
    assert other > 0.6


@pytest.mark.parametrize(
    ("experiment", "setting"), [("iris_disc", "model.dropout=0.3"), ("iris_gen", "task.noise=0.5")]
)
def test_resuming_continues_an_interrupted_run_exactly(
    train, monkeypatch, capfd, experiment, setting
):
    settings = (setting, "schedule.name=one_cycle", "trainer.log_every_n_steps=1")
    whole = train(experiment, *settings)

    from ugmm.training.callbacks import SeedEpochs

    start_of_epoch = SeedEpochs.on_train_epoch_start

    def fail_in_epoch_three(self, trainer, task):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt
        start_of_epoch(self, trainer, task)

    runs = whole.folder.parents[1]
    before = set(runs.glob("*/*"))
    with monkeypatch.context() as patch:
        patch.setattr(SeedEpochs, "on_train_epoch_start", fail_in_epoch_three)
        with pytest.raises(SystemExit):
            train(experiment, *settings)
    (broken,) = set(runs.glob("*/*")) - before
    capfd.readouterr()
    assert main(["train", "--resume", str(broken)]) == 0
    assert (broken / "metrics.csv").read_bytes() == whole.metrics.read_bytes()
    resumed = torch.load(broken / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    expected = weights(whole)
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_a_configuration_edited_later_does_not_change_a_run(train, capfd, tmp_path):
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(
        "defaults: {data: iris, model: ugmm, task: discriminative}\noptimizer: {lr: 0.25}\n"
    )
    run = train(str(experiment))
    frozen, metrics = run.config.read_bytes(), run.metrics.read_bytes()
    experiment.write_text(experiment.read_text().replace("0.25", "0.5") + "bogus: 1\n")
    run.summary.unlink()  # as if it had been killed during the test
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert run.config.read_bytes() == frozen
    assert run.metrics.read_bytes().startswith(metrics)
    capfd.readouterr()
    assert main(["train", "--resume", str(run.folder), "seed=2"]) == 1
    assert "seed of a run that goes on is settled" in capfd.readouterr().err


def test_a_run_that_has_ended_is_left_as_it_is(trained, capfd):
    run = trained("iris_disc")
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert "ended already" in capfd.readouterr().out
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def test_validation_metrics_are_those_of_the_tested_checkpoint(train):
    """The last epoch may have no validation of its own."""
    run = train("iris_disc", "trainer.max_epochs=5", "trainer.test_checkpoint=last")
    summary = run.read_summary()
    assert summary["tested_epoch"] == 5
    assert "val/accuracy" not in summary
    best = train("iris_disc", "trainer.max_epochs=5").read_summary()
    assert best["tested_epoch"] in (2, 4)
    assert "val/accuracy" in best


@pytest.mark.parametrize(
    "setting",
    ["trainer.gradient_clip_val=0.1", "trainer.accumulate_grad_batches=2", "kernel"],
)
def test_settings_reach_the_trainer(train_once, train, setting):
    """Each changes what is learned, but for the kernel, which must not."""
    plain = weights(train_once("iris_disc", "data.batch_size=16"))["network.layers.0.loc"]
    changed = setting.replace("kernel", "model.kernel=reference")
    other = weights(train("iris_disc", "data.batch_size=16", changed))["network.layers.0.loc"]
    assert torch.allclose(plain, other, atol=1e-4) == (setting == "kernel")


def test_fast_dev_run(train_and_draw):
    run = train_and_draw("iris_disc", "trainer.fast_dev_run=true")
    assert "test/accuracy" in run.read_summary()
    assert not run.checkpoints.exists()
    with pytest.raises(UserError, match="which keeps no checkpoint; train without it"):
        ugmm.load(run.folder)


def test_without_validation_the_last_checkpoint_is_tested(train_and_draw):
    run = train_and_draw("iris_disc", "data.val_fraction=0", "trainer.test_checkpoint=last")
    assert set(run.read_summary()) >= {"test/accuracy", "steps"}
    assert "val/accuracy" not in run.read_summary()


def test_data_initialisation_trains(train):
    for experiment in ("iris_disc", "iris_gen"):
        run = train(experiment, "model.init=data")
        assert "test/accuracy" in run.read_summary()


class TestErrors:
    """One line that names the thing, no traceback, and nothing left behind."""

    @pytest.mark.parametrize(
        ("experiment", "overrides", "complaint"),
        [
            ("iris_dsic", [], "unknown experiment 'iris_dsic'; did you mean iris_disc"),
            ("iris_disc", ["data.fold=5"], "data.fold=5"),
            ("iris_disc", ["model.dropout=[0.1]"], "model: dropout has 1 rates for 3 layers"),
            ("iris_disc", ["trainer.accelerator=gpu"], "torch finds no GPU here"),
            ("iris_disc", ["trainer.monitor=val/acuracy"], "trainer.monitor: Invalid value"),
            ("iris_disc", ["trainer.monitor=val/score"], "val/score: here a validation measures"),
            ("iris_gen", ["trainer.monitor=val/score"], "val/ece, val/log_prob; choose one"),
            ("iris_gen", ["model.dropout=0.2"], "must be a fixed function"),
            ("iris_gen", ["model.norm=batch"], "must be a fixed function"),
            ("iris_gen", ["model=autoregressive"], "train it with task=likelihood"),
            ("iris_gen", ["task=likelihood"], "task=likelihood needs a model"),
            ("mnist_grey", ["task.noise=0.1"], "has no probability; set task.noise=0"),
            ("mnist_grey", ["task.noise=null"], "has no probability; set task.noise=0"),
            ("mnist_grey", ["data.noise=0.1"], "has no probability; set data.noise=0"),
            ("mnist_grey", ["data.binarize=0"], "set data.binarize=null, or model.head=bernoulli"),
            ("mnist_grey", ["data=iris"], "or set model.neighbours=0"),
            ("mnist_gen", ["task.label=real"], "takes task.label=onehot or none"),
            ("iris_disc", ["data.val_fraction=0"], "trainer.test_checkpoint=last"),
            ("iris_disc", ["trainer.num_nodes=2"], "needs a launcher on every node"),
        ],
    )
    def test_before_there_is_a_folder(self, train, tmp_path, experiment, overrides, complaint):
        if "trainer.accelerator=gpu" in overrides and torch.cuda.is_available():
            pytest.skip("there is a GPU here")
        line = train(experiment, *overrides)
        assert complaint in line
        assert line.startswith("ugmm: error: ")
        assert line.count("\n") == 1
        assert not list((tmp_path / "runs").glob("*/*"))

    def test_a_loss_that_is_not_finite(self, train, tmp_path):
        settings = ("optimizer.name=sgd", "optimizer.lr=1e6", "trainer.check_val_every_n_epoch=4")
        line = train("iris_disc", *settings)
        assert "the loss is nan at step" in line or "val/nll is nan" in line
        assert "group '" in line
        assert "no checkpoint yet" in line
        assert not list(tmp_path.rglob("last.ckpt"))

    def test_rows_that_are_not_0_and_1(self, train):
        line = train("iris_gen", "task=likelihood", "model=bernoulli_mixture")
        assert "model=bernoulli_mixture is a distribution of 0 and 1" in line
        assert "use data=mnist data.binarize=0" in line

    @pytest.mark.parametrize("model", ["autoregressive", "nade", "pixel_ugmm"])
    def test_rows_between_the_levels(self, train, model):
        settings = ["data=iris", "model.head=levels", "model.image_shape=[2,2]"]
        line = train("mnist_gen", "task.noise=0", f"model={model}", *settings)
        assert f"model={model} is a distribution of 256 levels" in line
        assert line.endswith("use other rows, or model=autoregressive model.head=gaussian\n")
        remedied = compose(
            "mnist_gen", ["data=iris", "model=autoregressive", "model.head=gaussian"]
        )
        assert not remedied.model.is_discrete

    def test_the_last_good_checkpoint_is_named_and_good(self, train, tmp_path):
        line = train(
            "iris_disc",
            "trainer.max_epochs=8",
            "schedule={name: step, milestones: [3], gamma: 1.0e+6}",
            "optimizer={name: sgd, lr: 1.0}",
        )
        (last,) = tmp_path.rglob("last.ckpt")
        assert f"the last good checkpoint is {last}" in line
        good = torch.load(last, weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in good.values())

    def test_no_such_run(self, capfd, tmp_path):
        for command in (["eval"], ["train", "--resume"]):
            assert main([*command, str(tmp_path / "nowhere")]) == 1
            assert "no such run folder" in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("setting", "difference"),
        [
            ("model.hidden=[7]", "model.hidden is [7] there and [10, 5] here"),
            ("model.min_scale=0.5", "model.min_scale is 0.5 there and 0.001 here"),
        ],
    )
    def test_a_checkpoint_of_another_architecture(
        self, trained, train, capfd, setting, difference
    ):
        run, other = trained("iris_disc"), train("iris_disc", setting)
        run.best.write_bytes(other.best.read_bytes())
        run.environment.unlink()  # which says of which run it is
        assert main(["eval", str(run.folder)]) == 1
        line = capfd.readouterr().err
        assert f"is of another architecture than its run's config.yaml: {difference}" in line
        assert line.count("\n") == 1

    def test_a_run_without_its_best_checkpoint(self, trained, capfd):
        run = trained("iris_disc")
        run.best.unlink()
        run.summary.unlink()
        assert main(["train", "--resume", str(run.folder)]) == 1
        assert f"no checkpoint at {run.best}" in capfd.readouterr().err


def test_a_group_and_a_checkpoint_are_tested_and_resumed_as_their_run(trained, capfd):
    run = trained("iris_disc")
    capfd.readouterr()
    for command in (["eval"], ["train", "--resume"]):
        for place in (run.folder.parent, run.last):
            assert main([*command, str(place)]) == 0
            output = capfd.readouterr()
            assert "accuracy" in output.out
            newest = f"the newest run of {place} is {run.folder}\n"
            assert (newest in output.err) == (place == run.folder.parent)
