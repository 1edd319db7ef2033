"""What docs/estimators.md shows is so: its code runs from top to bottom."""

import inspect
import re
from pathlib import Path

import pytest

from ugmm.sklearn import UGMMClassifier, UGMMDensity, UGMMRegressor

PAGE = (Path(__file__).parents[1] / "docs/estimators.md").read_text(encoding="utf-8")


def test_its_code_runs_and_does_what_is_said():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 7
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["accuracy"] > 0.9
    assert names["probabilities"].shape == (38, 3)
    assert (names["std"] > 0).all()
    low, y, high = names["low"], names["progression"], names["high"]
    assert 0.8 < ((low < y) & (y < high)).mean() < 1
    assert names["log_density"].mean() > -4
    assert names["drawn"].shape == (1000, 4)
    assert names["accuracy_with_gaps"] > 0.8
    assert names["bern"] == [0]
    assert set(names["best"]) == {"hidden_layer_sizes", "noise"}
    assert names["same"]
    assert 0 < names["chance"] < 1
    assert names["completed"].rows.shape == (1, 100, 4)


@pytest.mark.parametrize("estimator", [UGMMClassifier, UGMMRegressor, UGMMDensity])
def test_every_parameter_is_told(estimator):
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE))))
    assert set(inspect.signature(estimator).parameters) <= told


def test_defaults_are_those_that_are_told():
    lines = re.findall(r"^\| `(\w+)` \| `?(.*?)`?(?:;.*)? \| ", PAGE, re.MULTILINE)
    parameters = inspect.signature(UGMMClassifier).parameters
    compared = [(n, told) for n, told in lines if n in parameters]
    assert len(compared) == 9
    for name, told in compared:
        assert repr(parameters[name].default) in (told, f"{told}.0", told.replace('"', "'"))
