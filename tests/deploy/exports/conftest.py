"""Runs that are exported once for all tests."""

import functools

import pytest

from ugmm import load
from ugmm.deploy import to_onnx, to_pt2, to_safetensors
from ugmm.deploy.exports.export import origin_of

WRITERS = {"onnx": to_onnx, "pt2": to_pt2, "safetensors": to_safetensors}
TABLE = "width,age,colour,kind\n" + "".join(
    f"{i % 7 + i / 9},{20 + i % 40},{('red', 'light blue', '')[i % 3]},{'ab'[i % 2]}\n"
    for i in range(60)
)
KEPT = ("data=csv", "data.missing=keep", "data.label=kind")


@pytest.fixture(scope="session")
def exported(train_once, tmp_path_factory):
    """Return a run and what it was exported to, once for each run and kind."""

    @functools.cache
    def exported(kind, experiment, *overrides):
        run = train_once(experiment, *overrides)
        path = tmp_path_factory.mktemp("exported") / f"model.{kind}"
        WRITERS[kind](load(run.folder), path, origin_of(run))
        return run, path

    return exported


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Return settings of a table with a text column and missing values."""
    path = tmp_path_factory.mktemp("table") / "things.csv"
    path.write_text(TABLE)
    return (*KEPT, f"data.path={path}")
