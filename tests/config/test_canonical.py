"""What a configuration computes has one identity, whichever version wrote it down."""

from dataclasses import dataclass

import pytest
import yaml

from ugmm.config import canonical, merge
from ugmm.config.canonical import complete, compute_identity, to_canonical
from ugmm.config.choices import CHOSEN, declared
from ugmm.config.choices.models import MLPConfig
from ugmm.config.compose import compose
from ugmm.config.frozen import to_mapping, to_yaml


@pytest.fixture
def frozen():
    return to_mapping(compose("mnist_disc", ["data.max_shift=2", "seed=3"]))


def without(config, path):
    *groups, last = path.split(".")
    if not groups:
        return {key: value for key, value in config.items() if key != last}
    (group,) = groups
    return {**config, group: without(config[group], last)}


def test_defaults_and_places_are_left_out():
    config = compose("iris_disc", ["trainer.max_epochs=4", "trainer.devices=2", "name=mine"])
    assert to_canonical(config) == {
        "data": {"name": "iris"},
        "model": {"name": "ugmm", "hidden": [10, 5], "norm": "layer"},
        "task": {"name": "discriminative"},
        "optimizer": {"lr": 0.01},
        "trainer": {
            "max_epochs": 4,
            "check_val_every_n_epoch": 25,
            "log_every_n_steps": 10,
            "monitor": "val/nll",
        },
    }


def test_every_form_of_a_configuration_has_one_identity():
    config = compose("iris_gen", ["optimizer.betas=[0.8,0.9]"])
    expected = compute_identity(config)
    assert compute_identity(to_mapping(config)) == expected
    assert compute_identity(yaml.safe_load(to_yaml(config))) == expected
    elsewhere = compose(
        "iris_gen",
        ["optimizer.betas=[0.8,0.9]", "runs_dir=x", "tracking.mode=offline", "trainer.threads=7"],
    )
    assert compute_identity(elsewhere) == expected
    assert compute_identity(compose("iris_gen", ["optimizer.betas=[0.8,0.95]"])) != expected


@pytest.mark.parametrize(
    "key", ["model.kernel", "data.binarize", "trainer.accumulate_grad_batches", "schedule.gamma"]
)
def test_an_added_key_changes_no_identity(frozen, key):
    """A configuration that was frozen before the key existed does not have it."""
    assert compute_identity(without(frozen, key)) == compute_identity(frozen)
    assert complete(without(frozen, key)) == frozen


def test_an_added_section_and_a_key_of_no_section_change_no_identity():
    frozen = to_mapping(compose("iris_disc"))
    assert compute_identity(without(without(frozen, "schedule"), "seed")) == compute_identity(
        frozen
    )


def test_a_key_that_is_not_at_its_default_counts(frozen):
    for key in ("seed", "data.max_shift", "model.dropout", "optimizer.lr", "schedule"):
        assert compute_identity(without(frozen, key)) != compute_identity(frozen)
    # What another version knew and this one does not.
    unknown = {**frozen, "model": {**frozen["model"], "lost": 1}}
    assert compute_identity(unknown) != compute_identity(frozen)


def test_a_renamed_key_changes_no_identity(frozen):
    data = frozen["data"]
    then = {"max_shift": "shift", "robustness": "shifts"}
    earlier = {**frozen, "data": {then.get(key, key): value for key, value in data.items()}}
    assert set(earlier["data"]) != set(data)
    assert compute_identity(earlier) == compute_identity(frozen)
    assert complete(earlier) == frozen


def test_whole_numbers_are_what_they_are_worth():
    config = to_mapping(compose("iris_gen", ["task.label_weight=2"]))
    assert config["task"]["label_weight"] == 2.0
    as_integer = {**config, "task": {**config["task"], "label_weight": 2}}
    assert compute_identity(as_integer) == compute_identity(config)


def test_a_changed_default_keeps_what_was_frozen_before(monkeypatch):
    @dataclass
    class LaterConfig(MLPConfig):
        dropout: float = 0.3

    before = to_mapping(compose("mnist_mlp", ["model.dropout=0.0"]))
    assert "dropout" not in to_canonical(before)["model"]
    later = {group: dict(declared(group)) for group in CHOSEN}
    later["model"]["mlp"] = LaterConfig
    for module in (canonical, merge):
        monkeypatch.setattr(module, "declared", later.__getitem__)
    assert to_canonical(before)["model"]["dropout"] == 0.0
    assert compute_identity(compose("mnist_mlp", ["model.dropout=0.0"])) == compute_identity(
        before
    )
    assert compute_identity(compose("mnist_mlp", ["model.dropout=0.3"])) != compute_identity(
        before
    )
