"""What is kept of published runs says what the page of results says; and its lines, one by one."""

import re
from pathlib import Path

import pytest

from quotes import read_sections
from ugmm.cli import main
from ugmm.config.files import project_root
from ugmm.metrics import label_column
from ugmm.report.escaping import for_markdown
from ugmm.report.statistics import Record
from ugmm.report.study.text import runs_csv
from ugmm.studies.ablation import compare, read_ablation
from ugmm.studies.crossval import command as crossval_command
from ugmm.studies.crossval import read_crossvalidation
from ugmm.studies.published import (
    FOLDER,
    Origin,
    describe_origins,
    find_origin,
    format_report,
    name_file,
    parse_records,
    parse_report,
    read_published,
    tell_runs,
    write_published,
)
from ugmm.studies.results import RESULTS

KEPT = project_root() / FOLDER
PAGE = (project_root() / RESULTS).read_text(encoding="utf-8")
SECTIONS = read_sections(PAGE)


def section_of(study, page=PAGE):
    (found,) = re.findall(f"<!-- {study} -->\n(.*?)\n<!-- /{study} -->", page, re.DOTALL)
    return found


def without_what_was_left_out(section):
    """A file does not say why a run is not in it."""
    about = "- (Failed|Not finished|What these start|.* of an earlier version)"
    return [line for line in section.splitlines() if not re.match(about, line)]


@pytest.mark.parametrize("path", sorted(KEPT.glob("ablations/*.csv")), ids=lambda p: p.stem)
def test_an_ablation_follows_from_what_is_kept_of_it(path):
    report = compare._read_published(read_ablation(path.stem), path.stem)
    found = report.format_section()
    assert without_what_was_left_out(found) == without_what_was_left_out(section_of(path.stem))


@pytest.mark.parametrize("path", sorted(KEPT.glob("crossval/*.csv")), ids=lambda p: p.stem)
def test_a_cross_validation_follows_from_what_is_kept_of_it(path, tmp_path, monkeypatch):
    study = f"crossval {path.stem}"
    write_published(tmp_path, study, path.read_text(encoding="utf-8"))
    settings = path.with_suffix(".json").read_text(encoding="utf-8")
    beside = tmp_path / path.with_suffix(".json").relative_to(project_root())
    beside.write_text(settings, encoding="utf-8")
    monkeypatch.setattr(crossval_command, "project_root", lambda: tmp_path)
    assert main(["crossval", path.stem, "--published", "--publish"]) == 0
    page = (tmp_path / RESULTS).read_text(encoding="utf-8")
    assert section_of(study, page) == section_of(study)
    assert beside.read_text(encoding="utf-8") == settings


@pytest.mark.parametrize("study", SECTIONS)
def test_a_section_without_a_file_says_so(study):
    kept = (project_root() / name_file(study)).is_file()
    assert kept == ("- A line a run, with all digits: " in section_of(study))
    assert kept == ("The runs themselves are gone" not in section_of(study))


@pytest.mark.parametrize("study", SECTIONS)
def test_a_section_is_of_a_file_that_is_shipped(study):
    kind, _, name = study.rpartition(" ")
    section, rows = section_of(study), list(SECTIONS[study])
    if kind:
        found = read_crossvalidation(name)
        assert set(found.models) <= set(rows)
    else:
        found = read_ablation(name)
        variants = [*found.variants, *found.families] or rows  # a search has none of its own
        assert [variant for variant in variants if variant in rows] == rows
        assert label_column(found.settings.metric) in section
    assert section.startswith(f"### {for_markdown(found.title)}\n")


RECORDS = [
    Record("=a", 0, None, Path("runs/x/a-0"), {"test/nll": 0.1 + 0.2, "parameters": 345}),
    Record("b|c", 1, 2, Path("runs/x/b-1"), {"seconds": 1e-07, "parameters": 12}),
]


def test_runs_are_read_as_they_were_written(tmp_path):
    origins = [Origin("0123456789 with changes", "Linux, 2 CPUs"), None]
    searches = {"b|c": "b|c: the best of 9 settings."}
    told = tell_runs(RECORDS, origins, searches)
    text = runs_csv(RECORDS, ["test/nll", "seconds", "parameters"], told)
    write_published(tmp_path, "x", text)
    lines = read_published(tmp_path, "x", "command")
    assert parse_records(lines, ["=a", "b|c"], "x") == (RECORDS, origins, searches)


def test_fits_are_read_as_they_were_written(tmp_path):
    values = {"seed": 0, "fold": 1, "accuracy": 2 / 3, "log_prob": None, "data": "iris"}
    values |= {"commit": "1234567890", "machine": "Linux, 2 CPUs", "gaps": True}
    about = {"values": {"reg": 0.1, "hidden": [4]}, "error": None, "warnings": ["a, b"]}
    report = {"=qda": [values | about], "lda": [values | about | {"error": "E: no", "seed": 1}]}
    told = {"packages": "torch 2.13.0"}
    text = format_report(report, told)
    known = {m: [{"key": "f", "inner": None} | fit for fit in fits] for m, fits in report.items()}
    assert format_report(known, told) == text
    write_published(tmp_path, "crossval x", text)
    lines = read_published(tmp_path, "crossval x", "command")
    assert parse_report(lines, ["=qda", "lda"], told, "crossval x") == (report, told)


def test_origins_are_counted():
    git = {"commit": "0123456789abc", "dirty": True}
    origin = find_origin({"git": git, "platform": "Linux", "cpus": 2})
    assert describe_origins([origin, find_origin({}), None, origin]) == [
        "Commit: 0123456789 with changes (2 runs); unknown (1 run).",
        "Machine: Linux, 2 CPUs (2 runs); unknown, unknown CPUs (1 run).",
    ]
    assert describe_origins([None]) == []
    assert describe_origins([origin], "fit")[0] == "Commit: 0123456789 with changes (1 fit)."
