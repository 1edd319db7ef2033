"""The ledger: which point is which, and that no two share a folder."""

import json
from dataclasses import replace

import pytest

from ugmm.config.frozen import to_yaml
from ugmm.errors import UserError
from ugmm.studies.ablation import Ledger

TEXT = "experiment: iris_disc\nseeds: [0]\nvariants:\n  plain: {}\n  wide: {model.hidden: [20]}\n"


@pytest.fixture
def ablation(ablation):
    return ablation(TEXT)


def write_plan(ledger, points):
    ledger.folder.mkdir(parents=True)
    keys = ("id", "variant", "repetition", "config")
    entries = [{key: getattr(point, key) for key in keys} for point in points]
    ledger.path.write_text(json.dumps({"points": entries}))


def at_another_rate(point):
    optimizer = {**point.config["optimizer"], "lr": 0.5}
    return replace(point, config={**point.config, "optimizer": optimizer})


def test_a_plan_holds_mappings(ablation):
    ledger = ablation.open_ledger()
    ledger.extend(ablation.points)
    entries = json.loads(ledger.path.read_text())["points"]
    assert [entry["config"]["model"]["hidden"] for entry in entries] == [[10, 5], [20]]
    assert Ledger(ledger.folder).read_points() == ablation.points


def test_an_id_of_something_else_is_never_shared(ablation):
    """As when a default has changed: what was planned had this id, and computes another thing."""
    plain, _ = ablation.points
    ledger = ablation.open_ledger()
    other = at_another_rate(plain)
    write_plan(ledger, [other])
    (added, _), dropped = ledger.extend(ablation.points)
    assert dropped == [other]
    assert added.identity == plain.identity
    assert added.id != other.id
    assert added.run.folder != other.run.folder
    assert ledger.extend(ablation.points) == ([], [other])  # and found again under that id


def test_a_folder_of_something_else_is_never_shared(ablation):
    """The same, where the plan has been removed meanwhile."""
    plain, _ = ablation.points
    ledger = ablation.open_ledger()
    plain.run.folder.mkdir(parents=True)
    plain.run.config.write_text(to_yaml(at_another_rate(plain).resolve()))
    found, _ = ledger.match(ablation.points)
    assert found.run.folder != plain.run.folder


def test_a_folder_of_the_same_is_taken_up_again(ablation):
    plain, wide = ablation.points
    for point, left_id in ((plain, "0123abcd"), (wide, "not-an-id")):
        left = replace(point, id=left_id)
        left.run.folder.mkdir(parents=True)
        left.run.config.write_text(to_yaml(left.resolve()))
    found = ablation.open_ledger().match(ablation.points)
    assert [point.id for point in found] == ["0123abcd", wide.id]


@pytest.mark.parametrize(
    ("settings", "agrees"),
    [
        ({}, True),
        ({"model.hidden": [10, 5]}, True),
        ({"model": {"hidden": [10, 5]}}, True),
        ({"model": {"hidden": [10, 6]}}, False),
        ({"model.hidden": [10]}, False),
        ({"model.min_scale": 0.001}, True),  # its default, which the plan below does not know
        ({"model.min_scale": 0.1}, False),
        ({"model": "ugmm"}, True),  # a choice stands for many settings
        ({"trainer.devices": 7, "tracking": {"mode": "offline"}}, True),
        ({"trainer.max_epochs": "${seed}"}, True),
        ({"optimizer.lr": 1}, False),
        ({"nothing.like.it": 1}, False),
    ],
)
def test_a_point_agrees_with_what_is_said_of_it(ablation, settings, agrees):
    plain, _ = ablation.points
    model = {key: v for key, v in plain.config["model"].items() if key != "min_scale"}
    assert replace(plain, config={**plain.config, "model": model}).agrees(settings) == agrees


def test_an_empty_plan_is_made_again(ablation):
    ledger = ablation.open_ledger()
    ledger.folder.mkdir(parents=True)
    ledger.path.touch()
    assert ledger.read_points() == []
    ledger.extend(ablation.points)
    assert Ledger(ledger.folder).read_points() == ablation.points


def test_a_plan_of_another_ablation_is_refused(ablation):
    ledger = ablation.open_ledger()
    ledger.extend(ablation.points)
    home = ledger.folder.parent.rename(ledger.folder.parent.with_name("theirs"))
    with pytest.raises(UserError, match="is of the ablation 'mine', but lies in runs/theirs; ren"):
        Ledger(home / "ablation").read_points()


def test_a_planned_configuration_that_is_valid_no_more_says_what_to_do(ablation):
    plain, _ = ablation.points
    ledger = ablation.open_ledger()
    write_plan(ledger, [replace(plain, config={**plain.config, "model": {"name": "gone"}})])
    (point,) = ledger.read_points()
    with pytest.raises(UserError, match=rf"point {plain.id} of the plan.*remove plan.json to"):
        point.resolve()
