"""Keys of the trainer: what each does, and one line where it cannot be done."""

import re

import numpy as np
import pytest
import torch

from ugmm.config.compose import compose
from ugmm.config.frozen import from_mapping, to_mapping
from ugmm.errors import UserError
from ugmm.studies.crossval.fits import NetworkEstimator
from ugmm.training.fit import RowsDataModule
from ugmm.training.fit import train as train_rows
from ugmm.training.trainer import check_hardware, optional_callbacks


def wanted(*overrides):
    return compose("iris_disc", ["trainer.accelerator=cpu", *overrides]).trainer


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.devices=0", "at least 1"),
        ("trainer.devices=two", "a number or auto"),
        ("trainer.devices=[]", "must name GPUs"),
        ("trainer.devices=[0,0]", "must name GPUs"),
        ("trainer.devices=[0,-1]", "must name GPUs"),
        ("trainer.devices=-1", "trainer.devices=-1 must be at least 1; auto takes all GPUs"),
        ("trainer.devices=[0,1]", "give their number, trainer.devices=2"),
        ("trainer.accelerator=mps", "torch finds no Apple GPU"),
        ("trainer.accelerator=gpu", "torch finds no GPU"),
        ("trainer.devices=1000", "trainer.devices=1000: this machine has"),
        ("trainer.limit_train_batches=0", "above 0"),
        ("trainer.limit_val_batches=-0.5", "above 0"),
        ("trainer.limit_test_batches=1.0", "a share of them below 1"),
        ("trainer.limit_test_batches=1.5", "a share of them below 1"),
        ("trainer.extra=5", "trainer.extra holds keys of its own"),
        ("trainer.extra.detect_anomal=true", "did you mean detect_anomaly"),
        ("trainer.extra={precision: 64-true}", "set trainer.precision"),
        ("trainer.extra={logger: false}", "see tracking.mode"),
        (
            "trainer.logger=true",
            "'trainer.logger'; Lightning's argument is set by ugmm itself; see tr",
        ),
        ("trainer.deterministic=true", "is set by ugmm itself; leave it out"),
        (
            "trainer.profiler=simple",
            "further arguments of Lightning's Trainer go into trainer.extra",
        ),
        ("trainer.extra={deterministic: true}", "is set by ugmm itself"),
        ("trainer.extra={profiler: fast}", "trainer.extra (profiler=fast)"),
        ("trainer.extra={min_epochs: many}", "trainer.extra.min_epochs='many' is no value"),
    ],
)
def test_what_cannot_be_done_is_one_line(monkeypatch, override, said):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as error:
        check_hardware(wanted(override))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.averaging=ema"], "did you mean trainer.averaging.name=ema?"),
        (["trainer.averaging.decay=1"], "must be at least 0 and below 1"),
        (["trainer.early_stopping.patience=0"], "must be at least 1"),
        (["schedule.name=plateau", "schedule.gamma=1"], "schedule.gamma=1.0 must be below 1"),
        (["schedule.name=plateau", "data.val_fraction=0", "trainer.test_checkpoint=last"],
         "schedule.name=plateau needs validation rows"),
        (["trainer.early_stopping.patience=3", "data.val_fraction=0",
          "trainer.test_checkpoint=last"], "patience=3 needs validation rows"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, said):
    with pytest.raises(UserError, match=re.escape(said)):
        wanted(*overrides)


def test_what_is_off_by_default_adds_nothing():
    assert optional_callbacks(wanted()) == []


def test_a_run_stops_early(train):
    run = train("iris_disc", "trainer.early_stopping.patience=1", "trainer.monitor=val/accuracy",
                "trainer.early_stopping.min_delta=1", "trainer.max_epochs=9",
                "trainer.check_val_every_n_epoch=1")  # fmt: skip
    assert torch.load(run.last, weights_only=True)["epoch"] == 1


def test_crossval_has_nothing_to_stop_by():
    rows = RowsDataModule(np.zeros((9, 4)), np.arange(9) % 3, 3, 4, 0)
    config = compose("iris_disc", ["trainer.early_stopping.patience=3"])
    with pytest.raises(UserError, match="needs validation rows: here are none"):
        train_rows(config, rows)


def test_a_training_of_rows_goes_back_to_the_best():
    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    x[:, 0] += y
    settings = ["optimizer.lr=0.1", "trainer.check_val_every_n_epoch=1", "trainer.threads=1"]

    def trained(*more):
        data = RowsDataModule(x[:30], y[:30], 3, 30, 0, validation=(x[30:], y[30:]))
        network = train_rows(compose("iris_disc", [*settings, *more]), data).network
        scores = network.class_scores(torch.tensor(x[30:]).float())
        return torch.nn.functional.cross_entropy(scores, torch.tensor(y[30:])).item()

    after = [trained(f"trainer.max_epochs={n}") for n in range(1, 20)]
    stopped = trained("trainer.early_stopping.patience=8")
    assert after[-1] > min(after)
    assert stopped == pytest.approx(min(after))


def test_a_training_of_rows_averages_too():
    x = np.random.default_rng(0).normal(size=(9, 4))
    overrides = ["trainer.max_epochs=3", "schedule.name=constant"]
    plain, averaged = (
        train_rows(compose("iris_disc", [*overrides, f"trainer.averaging.name={name}"]),
                   RowsDataModule(x, np.arange(9) % 3, 3, 3, 0))
        for name in ("none", "ema")
    )  # fmt: skip
    one, two = (task.network.layers[0].loc for task in (plain, averaged))
    assert not torch.equal(one, two)


def test_a_training_of_rows_has_their_noise():
    x, y = np.random.default_rng(0).normal(size=(9, 4)), np.arange(9) % 3
    plain, noisy = (
        NetworkEstimator(
            compose("iris_disc", ["trainer.max_epochs=2", "trainer.threads=1", f"data.noise={s}"])
        ).fit(x, y, 3, 0)(x)
        for s in (0, 1)
    )
    assert not np.array_equal(plain, noisy)


@pytest.mark.parametrize("devices", ["auto", 2, [0], [1, 0]])
def test_devices_that_are_there_are_taken(monkeypatch, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config = wanted(f"trainer.devices={devices}", "trainer.accelerator=gpu")
    assert config.devices == devices
    check_hardware(config)
    absent = wanted("trainer.devices=[2]", "trainer.accelerator=gpu")
    with pytest.raises(UserError, match="this machine has 2 GPU"):
        check_hardware(absent)


def test_limits_count_batches(train):
    run = train("iris_disc", "data.batch_size=16", "trainer.limit_train_batches=3",
                "trainer.limit_val_batches=0.5", "trainer.limit_test_batches=1")  # fmt: skip
    summary = run.read_summary()
    assert summary["steps"] == 3 * 4
    assert summary["test/accuracy"] * 15 % 1 == pytest.approx(0, abs=1e-5)  # 30 rows, two batches


def test_a_share_of_less_than_a_batch_is_one_line(train):
    error = train("iris_disc", "data.batch_size=96", "trainer.limit_train_batches=0.5")
    assert "limit_train_batches" in error
    assert len(error.splitlines()) == 1


def test_extra_arguments_reach_the_trainer(train):
    run = train("iris_disc", "trainer.check_val_every_n_epoch=1", "trainer.max_epochs=90000",
                "trainer.extra={max_time: {seconds: 1}, detect_anomaly: true}")  # fmt: skip
    assert run.read_summary()["steps"] < 90000
    assert "detect_anomaly: true" in run.config.read_text()


def test_a_configuration_from_before_these_keys_is_read():
    config = compose("iris_gen", ["trainer.max_epochs=3"])
    frozen = to_mapping(config)
    before = ("max_epochs", "accelerator", "devices", "monitor", "check_val_every_n_epoch")
    frozen["trainer"] = {key: frozen["trainer"][key] for key in before}
    frozen["schedule"] = {"name": "constant"}
    assert from_mapping(frozen, "an old one").trainer.max_epochs == 3
