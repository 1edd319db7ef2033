"""Cross-validations of several tables with cells missing: what is hidden, filled, and chosen."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

from fences import fences
from ugmm.cli import main
from ugmm.config.compose import compose_data
from ugmm.errors import UserError
from ugmm.studies.crossval import command, read_crossvalidation
from ugmm.studies.crossval.tables import (
    Rows,
    check_cut,
    dequantize,
    fill_gaps,
    hide_cells,
    read_rows,
)


def make_rows(n=2000):
    """Three columns, of which the middle one is a category of three features."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(n, 5))
    x[:, 1:4] = np.eye(3)[draws.integers(3, size=n)]
    return Rows(x, draws.integers(2, size=n), np.array([0, 1, 1, 1, 2]), ("a", "b"))


def test_cells_are_hidden_at_random_and_a_category_as_a_whole():
    rows = make_rows()
    fewer, more = (np.isnan(hide_cells(rows, share, 3)) for share in (0.2, 0.5))
    columns = more[:, [0, 1, 4]]
    np.testing.assert_allclose(columns.mean(0), 0.5, atol=4 * 0.5 / 2000**0.5)
    np.testing.assert_allclose(fewer[:, [0, 1, 4]].mean(0), 0.2, atol=4 * 0.4 / 2000**0.5)
    assert (more[:, 1:4] == more[:, 1:2]).all()
    assert not (fewer & ~more).any()
    both = (columns[:, 0] & columns[:, 1]).mean()
    assert both == pytest.approx(0.25, abs=0.05)
    assert np.array_equal(more, np.isnan(hide_cells(rows, 0.5, 3)))
    assert not np.array_equal(more, np.isnan(hide_cells(rows, 0.5, 4)))
    assert hide_cells(rows, 0.0, 3) is rows.x


def test_gaps_are_filled_by_training_rows_alone():
    x = hide_cells(make_rows(60), 0.3, 0)
    x = (x - np.nanmean(x, 0)) / np.nanstd(x, 0)
    train, test = x[:40], x[40:]
    filled, filled_test = fill_gaps("mean", train, test)
    known = ~np.isnan(train)
    assert np.array_equal(filled[known], train[known])
    assert not filled[~known].any()
    assert not filled_test[np.isnan(test)].any()
    direct = IterativeImputer(max_iter=5, random_state=0).fit(train)
    for other in (test, test[:1]):
        filled, filled_test = fill_gaps("iterative", train, other)
        np.testing.assert_allclose(filled_test, direct.transform(other))
        np.testing.assert_allclose(filled, direct.transform(train))


def test_a_large_table_is_cut_with_the_shares_of_its_classes():
    whole, cut = (read_rows(compose_data("wine", "test"), most) for most in (None, 120))
    assert len(whole.x) == 178
    assert np.bincount(cut.y).tolist() == [40, 48, 32]  # of 59, 71 and 48
    assert {tuple(row) for row in cut.x} <= {tuple(row) for row in whole.x}
    assert np.array_equal(cut.x, read_rows(compose_data("wine", "test"), 120).x)
    assert cut.columns.tolist() == list(range(13))


def test_dequantized_values_have_noise_of_their_step_and_no_constants():
    draws = np.random.default_rng(0)
    x = np.stack([draws.integers(3, size=4000) * 2.0, np.ones(4000), draws.normal(size=4000)], 1)
    rows = dequantize(Rows(x, np.zeros(4000, int), np.arange(3), ("a",)), 0.1)
    assert rows.columns.tolist() == [0, 2]
    noise = rows.x - x[:, [0, 2]]
    widths = np.array([2.0, 0.1 * x[:, 2].std()])  # a step of 2; no step worth the name
    assert (abs(noise) <= widths / 2).all()
    np.testing.assert_allclose(noise.std(0), widths / 12**0.5, rtol=0.05)
    # Three values, alike often, become one uniform density: -log 6 nats, log 1/3 a step of 2.
    assert np.bincount(np.floor(rows.x[:, 0] + 1).astype(int)).min() > 4000 / 6 * 0.85


def test_dequantized_tables_have_whole_rows_alone():
    x = torch.arange(12.0, dtype=torch.float64).reshape(6, 2)
    x[1, 0] = torch.nan
    y = torch.arange(6)
    about = SimpleNamespace(rows=lambda: (x, y), class_names="abcdef")
    about.describe_rows = lambda: SimpleNamespace(columns=())
    config = SimpleNamespace(build=lambda seed: about)
    assert read_rows(config).has_gaps
    rows = read_rows(config, least_noise=0.1)
    assert rows.y.tolist() == [0, 2, 3, 4, 5]
    assert (abs(rows.x - x[rows.y].numpy()) <= 1).all()  # steps of two
    assert np.array_equal(rows.x, read_rows(config, least_noise=0.1).x)
    x[:, 0] = torch.nan
    with pytest.raises(UserError, match="every row has a gap, and dequantize keeps whole rows"):
        read_rows(config, least_noise=0.1)


@pytest.mark.parametrize(("most", "kept"), [(177, "175"), (176, "175"), (2, "3")])
def test_a_cut_that_some_class_has_no_row_on_a_side_of_is_one_line(most, kept):
    data = compose_data("wine", "test")
    with pytest.raises(UserError, match=f"rows={most} of 178 .*3 classes.* {kept}"):
        read_rows(data, most)
    assert len(read_rows(data, int(kept)).x) == int(kept)


def test_a_class_of_one_row_cannot_be_cut():
    with pytest.raises(UserError, match="class 'rare' has a single row"):
        check_cut(np.array([0, 0, 0, 1]), ("common", "rare"), 2)


STUDY = {
    "data": ["iris", "wine"],
    "missing": [0.0, 0.5],
    "folds": 3,
    "tested": 1,
    "inner_folds": 2,
    "inner_tested": 1,
    "seeds": [0, 1],
    "select": "nll",
    "models": {
        "boosting": {
            "baseline": "hist_boosting",
            "set": {"steps": 3},
            "grid": {"lr": [0.1, 0.3]},
            "gaps": {"lr": [0.1, 0.3]},
        },
        "qda": {
            "baseline": "qda",
            "grid": {"reg": [0.1, 0.5]},
            "gaps": {"impute": ["mean", "iterative"], "reg": [0.1]},
        },
        "filled": {
            "baseline": "hist_boosting",
            "set": {"steps": 3},
            "gaps": {"impute": ["mean", "iterative"]},
        },
    },
}


@pytest.fixture
def crossval(project, capsys):
    """Write a study and run it; returns the error's line, or its folder."""

    def crossval(*arguments, **changes):
        Path("mine.yaml").write_text(json.dumps({**STUDY, **changes}))
        code = main(["crossval", "mine.yaml", "--jobs", "1", *arguments])
        error = capsys.readouterr().err
        return error if code else project / "runs/crossval/mine"

    return crossval


def test_tables_are_compared_and_the_page_is_made_again_of_what_is_published(
    crossval, tmp_path, monkeypatch
):
    root = tmp_path / "elsewhere"
    monkeypatch.setattr(command, "project_root", lambda: root)
    folder = crossval("--shared", "--publish")
    lines = [json.loads(line) for line in (folder / "fits.jsonl").read_text().splitlines()]
    outer = [line for line in lines if line["inner"] is None]
    # Two seeds of one fold each, two tables: two models of whole rows, three with gaps.
    assert len(outer) == 2 * 2 * (2 + 3)
    assert len(lines) == 3 * len(outer)  # one inner fold for each of two candidates
    assert {line["model"] for line in outer if not line["missing"]} == {"boosting", "qda"}
    assert {line["fold"] for line in lines} == {0}
    densities = [line["log_prob"] for line in outer if line["model"] == "qda"]
    assert sum(value is None for value in densities) == 4  # where values are missing
    page = (folder / "table.md").read_text()
    assert "0%, 50% of the cells are hidden" in page
    assert "The first 1 of 3 stratified folds" in page
    assert (folder / "ranks.png").exists()
    published, picture = root / "experiments/RESULTS.md", root / "docs/images/crossval/mine.png"
    section = published.read_text()
    assert "![Mean ranks of the models](../docs/images/crossval/mine.png)" in section
    shutil.rmtree(folder)
    published.unlink()
    picture.unlink()
    assert main(["crossval", "mine.yaml", "--published", "--publish"]) == 0
    assert published.read_text() == section
    assert picture.exists()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ({"gaps": {}}, "baseline qda needs a value in every cell; add impute: [mean, iterative]"),
        ({"gaps": {"impute": ["median"]}}, "gaps.impute has 'median'; did you mean mean?"),
        ({}, "values are missing in iris, and models.q says nothing of that; add gaps:"),
        ({"gaps": {"reg": [0.1]}, "set": {"reg": 0.1}}, "reg is both in set and in grid or gaps"),
        ({"gaps": [1]}, "set, grid and gaps must map keys to values"),
    ],
)
def test_mistakes_about_gaps_are_one_line(crossval, model, line):
    error = crossval(models={"q": {"baseline": "qda", **model}})
    assert line in error
    assert error.count("\n") == 1


def test_the_studies_of_ten_tables_are_valid_and_search_equally():
    study, densities = map(read_crossvalidation, ("tables", "densities"))
    assert len(study.data) == 10
    assert list(densities.data) == list(study.data)
    assert {len(m.with_gaps) for m in study.models.values()} == {4}
    assert {len(m.candidates) for m in study.models.values() if m.grid is not None} == {4}
    assert {len(m.candidates) for m in densities.models.values()} == {4}


def test_densities_of_several_tables_are_of_continuous_values(crossval):
    qda = {"baseline": "qda", "grid": {"reg": [0.1, 0.5]}}
    changes = {"missing": [0.0], "select": "log_prob", "dequantize": 0.1}
    folder = crossval(**changes, models={"qda": qda, "wider": qda})
    fits = [json.loads(line) for line in (folder / "fits.jsonl").read_text().splitlines()]
    assert {fit["data"]: fit["columns"] for fit in fits} == {"iris": 5, "wine": 14}
    page = (folder / "table.md").read_text()
    assert "at least 0.1 standard deviations, drawn once" in page


def test_the_study_that_the_documentation_shows_is_valid(project):
    (block,) = fences("docs/tables.md", "yaml")
    Path("mine.yaml").write_text(block.text)
    study = read_crossvalidation("mine.yaml")
    assert study.title == "Which classifiers of tables bear gaps?"
    assert [m.impute for m in study.models["logistic"].with_gaps] == ["mean", "iterative"]


def test_a_network_without_imputation_must_take_gaps(project):
    model = {"experiment": "iris_disc", "set": {"model": "mlp"}, "gaps": {}}
    Path("mine.yaml").write_text(json.dumps({**STUDY, "models": {"mlp": model}}))
    with pytest.raises(UserError, match=r"model=mlp with data\.missing=keep: it needs"):
        read_crossvalidation("mine.yaml")
