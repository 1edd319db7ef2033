"""Grids of settings, and the configurations that settings make."""

from pathlib import Path

import pytest

from ugmm.errors import UserError
from ugmm.studies.grid import compose_settings, expand_grid

ROOT = Path(__file__).parents[2]


def test_the_last_key_changes_first():
    assert expand_grid({"a": [1, 2], "b": ["x", "y"]}, "mine.yaml") == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert expand_grid({}, "mine.yaml") == [{}]


@pytest.mark.parametrize("values", [3, [], None, {"x": 1}])
def test_a_grid_is_of_lists(values):
    with pytest.raises(UserError, match=r"mine.yaml: grid.a must be a list of values"):
        expand_grid({"a": values}, "mine.yaml")


@pytest.mark.parametrize(
    ("experiment", "settings", "line"),
    [
        ("iris_disc", {"model": "mpl"}, "mine: unknown choice model=mpl; did you mean mlp?"),
        ("iris_disc", {"model.dropot": 1}, "mine: unknown key 'model.dropot'; did you mean"),
        ("iris_dics", {}, "mine: unknown experiment 'iris_dics'; did you mean iris_disc"),
        ("iris_gen", {"model": "mlp"}, "mine: model=mlp with task=generative: the score of"),
    ],
)
def test_every_error_names_the_source_once(experiment, settings, line):
    with pytest.raises(UserError) as mistake:
        compose_settings(experiment, settings, "mine", ROOT)
    assert str(mistake.value).startswith(line)
