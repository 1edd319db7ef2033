"""The notebooks: each runs from top to bottom, and holds the outputs of a run."""

import os
from pathlib import Path

import pytest

import ugmm

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def read(name):
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell):
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def test_there_are_three():
    assert NOTEBOOKS == ["iris_generative.ipynb", "mnist_discriminative.ipynb", "queries.ipynb"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_outputs_are_kept_as_a_run_left_them(name):
    notebook = read(name)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(map(pictures, cells)) >= 3
    kinds = [(o.output_type, o.get("name")) for cell in cells for o in cell.outputs]
    assert ("error", None) not in kinds
    assert ("stream", "stderr") not in kinds  # no warning stands in what a reader sees


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_from_top_to_bottom(name, tmp_path, monkeypatch):
    """In an empty folder, so that it needs no file but what the package fetches."""
    tested = str(Path(ugmm.__file__).parents[1])  # a clone's src/, or where a wheel is installed
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tested, os.environ.get("PYTHONPATH", "")]))
    notebook = read(name)
    expected = [pictures(cell) for cell in code_cells(notebook)]
    nbclient.NotebookClient(notebook, timeout=600).execute(cwd=tmp_path)  # an error is raised
    assert [pictures(cell) for cell in code_cells(notebook)] == expected
    assert not list(tmp_path.iterdir())
