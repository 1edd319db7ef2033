"""What `ugmm crossval --publish` keeps of fits, and that it is shown for the same file only."""

import json
import shutil

import pytest
from crossval_cases import BASE, QDA_ROW

from ugmm.cli import main
from ugmm.studies.crossval import command, nested, read_crossvalidation
from ugmm.studies.crossval.published import write_settings
from ugmm.studies.published import format_report, write_published


def test_what_was_published_is_shown_without_the_fits(
    crossval, project, tmp_path, monkeypatch, capsys
):
    root = tmp_path / "elsewhere"
    monkeypatch.setattr(command, "project_root", lambda: root)
    models = {"qda": QDA_ROW, "=lda": {"baseline": "lda"}}
    arguments = ("--jobs", "1", "--publish")
    folder = crossval(models, *arguments)
    path = root / "experiments" / "RESULTS.md"
    page = path.read_text()
    assert "<!-- crossval mine -->\n### mine\n" in page
    assert "#### What each model chose from" in page
    assert "[published/crossval/mine.csv](published/crossval/mine.csv)" in page
    crossval(models, *arguments)  # of fits that are read, which say more of themselves
    assert path.read_text() == page
    shutil.rmtree(folder)
    path.unlink()
    assert main(["crossval", str(project / "mine.yaml"), "--published", "--publish"]) == 0
    assert path.read_text() == page
    assert not folder.exists()
    kept = (root / "experiments/published/crossval/mine.csv").read_text().splitlines()
    assert len(kept) == 1 + 2 * 2 * 3
    beside = json.loads((root / "experiments/published/crossval/mine.json").read_text())
    assert beside["inner_folds"] == 2
    assert beside["models.qda.grid"] == {"reg": [0.5, 0.01]}


@pytest.fixture
def published(crossval, tmp_path, monkeypatch):
    """Make the page again of published fits and a file that was edited; returns the error."""
    root = tmp_path / "elsewhere"
    monkeypatch.setattr(command, "project_root", lambda: root)

    def published(names, models, **keys):
        fit = {"data": "iris", "missing": 0.0, "seed": 0, "values": {"reg": 0.01}}
        fits = [{**fit, "fold": fold} for fold in range(3)]
        about = dict.fromkeys(("packages", "commit", "machine"), "x")
        write_published(root, "crossval mine", format_report(dict.fromkeys(names, fits), about))
        error = crossval(models, "--published", "--publish", **{"seeds": [0], **keys})
        assert not (root / "experiments/RESULTS.md").exists()
        assert "experiments/published/crossval/mine.csv" in error
        assert error.count("\n") == 1
        return error

    return published


@pytest.mark.parametrize(
    ("models", "keys", "line"),
    [
        ({"qda": QDA_ROW, "kde": {"baseline": "kde"}}, {}, "models: kde is not among the fits"),
        ({"lda": {"baseline": "lda"}}, {}, "models: lda is not among the fits"),
        ({"qda": {**QDA_ROW, "grid": {"reg": [0.5, 0.3]}}}, {}, 'models.qda has no {"reg": 0.01}'),
        ({"qda": {"baseline": "qda"}}, {}, "models.qda has no"),
        ({"qda": QDA_ROW}, {"data": ["iris", "wine"]}, "data: wine is not among the fits"),
        ({"qda": QDA_ROW}, {"seeds": [0, 1]}, "seeds: 1 is not among the fits"),
        ({"qda": QDA_ROW}, {"tested": 2}, "folds: 2 is gone"),
    ],
)
def test_what_was_published_of_another_file_is_refused(published, models, keys, line):
    assert line in published(["qda"], models, **keys)


def test_a_model_that_was_published_and_is_gone_is_named(published):
    assert "models: lda is gone" in published(["qda", "lda"], {"qda": QDA_ROW})


LR_ROW = {"baseline": "hist_boosting", "set": {"steps": 3}, "grid": {"lr": [0.1]}}


@pytest.mark.parametrize(
    ("model", "keys", "line"),
    [
        ({}, {"rows": 120}, "rows was null in the fits of "),
        ({}, {"dequantize": 0.1}, "dequantize was null in"),
        ({}, {"inner_folds": 3}, "inner_folds was 2 in"),
        ({}, {"inner_tested": 1}, "inner_tested was null in"),
        ({}, {"folds": 4, "tested": 3}, "folds was 3 in"),
        ({}, {"select": "nll"}, 'select was "accuracy" in'),
        ({"set": {"steps": 4}}, {}, 'models.m.set was {"steps": 3} in'),
        ({"set": {}}, {}, 'models.m.set was {"steps": 3} in'),
        ({"grid": {"lr": [0.1, 0.3]}}, {}, 'models.m.grid was {"lr": [0.1]} in'),
    ],
)
def test_settings_that_were_edited_since_are_refused(
    crossval, project, tmp_path, monkeypatch, model, keys, line
):
    root = tmp_path / "elsewhere"
    monkeypatch.setattr(command, "project_root", lambda: root)
    base = {"seeds": [0], "select": "accuracy"}
    fit = {"data": "iris", "missing": 0.0, "seed": 0, "values": {"lr": 0.1}}
    fits = [{**fit, "fold": fold} for fold in range(3)]
    about = dict.fromkeys(("packages", "commit", "machine"), "x")
    write_published(root, "crossval mine", format_report({"m": fits}, about))
    path = project / "mine.yaml"
    path.write_text(json.dumps({**BASE, **base, "models": {"m": LR_ROW}}))
    write_settings(root, read_crossvalidation(str(path)))
    models = {"m": {**LR_ROW, **model}}
    error = crossval(models, "--published", "--publish", **{**base, **keys})
    assert line in error
    assert "take back what was changed in mine" in error
    assert error.count("\n") == 1
    assert not (root / "experiments/RESULTS.md").exists()


def test_fits_are_published_with_the_commit_and_machine_that_made_them(
    crossval, tmp_path, monkeypatch
):
    root = tmp_path / "elsewhere"
    monkeypatch.setattr(command, "project_root", lambda: root)
    environment = {"git": {"commit": "a" * 40}, "platform": "Linux", "cpus": 2}
    for commit, seeds in (("a", [0]), ("b", [0, 1])):
        environment["git"]["commit"] = commit * 40
        monkeypatch.setattr(nested, "describe_environment", lambda: environment)
        folder = crossval({"lda": {"baseline": "lda"}}, "--jobs", "1", "--publish", seeds=seeds)
    told = (
        "- Commit: aaaaaaaaaa (3 fits); bbbbbbbbbb (3 fits).\n- Machine: Linux, 2 CPUs (6 fits)."
    )
    assert told in (folder / "table.md").read_text()
    assert told in (root / "experiments/RESULTS.md").read_text()
    lines = (root / "experiments/published/crossval/mine.csv").read_text().splitlines()
    assert ["aaaaaaaaaa" in line for line in lines[1:]] == [True] * 3 + [False] * 3
