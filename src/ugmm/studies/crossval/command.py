"""The command `ugmm crossval`: cross-validate, print the table, and write it down."""

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ugmm.config.files import project_root
from ugmm.errors import UserError
from ugmm.report.escaping import for_terminal
from ugmm.report.study.crossval import (
    crossval_csv,
    crossval_markdown,
    crossval_notes,
    crossval_table,
)
from ugmm.runs import describe_environment
from ugmm.studies.crossval.definition import CrossValidation, read_crossvalidation
from ugmm.studies.crossval.nested import cross_validate
from ugmm.studies.published import (
    find_origin,
    format_report,
    link_published,
    parse_report,
    read_published,
    write_published,
)
from ugmm.studies.results import publish_section
from ugmm.writing import make_folder, write_atomic

__all__ = ["run_crossval"]

Report = Mapping[str, Sequence[Mapping[str, Any]]]
_ABOUT = ("packages", "commit", "machine")  # what is kept beside the fits


def run_crossval(
    name: str,
    processes: int,
    runs_dir: Path | str = "runs",
    *,
    shared: bool = False,
    publish: bool = False,
    published: bool = False,
) -> None:
    """Run a cross-validation, or what is left of it, and show its table.

    Args:
        name: See `ugmm.studies.crossval.definition.read_crossvalidation`.
        processes: How many fits run at a time.
        runs_dir: The folder `crossval/<name>` is made in it.
        shared: Take turns with other processes; the last to end shows the table.
        publish: Also write its section of `experiments/RESULTS.md`, and what is kept of its fits
            (see `ugmm.studies.published`).
        published: Show what was kept when it was published, and fit nothing.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    if processes < 1:
        raise UserError(f"--jobs must be at least 1, got {processes}")
    study = read_crossvalidation(name)
    known_as = f"crossval {study.name}"
    if published:
        lines = read_published(project_root(), known_as, f"ugmm crossval {name} --publish")
        report, about = parse_report(lines, study.models, _ABOUT, known_as)
        _show(report, study)
    else:
        folder = Path(runs_dir) / "crossval" / study.name
        make_folder(folder)
        found = cross_validate(study, folder, processes, shared=shared)
        if found is None:
            sys.stdout.write("others are at what is left; the last of them shows the table\n")
            return
        report, about = found, _describe_this()
        _show(report, study)  # first, so that it can be read where nothing can be written
        write_atomic(folder / "table.md", _describe(report, study, about, name))
        write_atomic(folder / "table.csv", crossval_csv(report))
        sys.stdout.write(f"with the grids and what was chosen: {folder}/table.md\n")
    if publish:
        root = project_root()
        if not published:
            write_published(root, known_as, format_report(report, about))
        section = _describe(report, study, about, name, [link_published(known_as)], level=3)
        path = publish_section(root, known_as, section)
        sys.stdout.write(f"published in {path}\n")


def _show(report: Report, study: CrossValidation) -> None:
    """Print the table."""
    from rich.console import Console

    Console().print(crossval_table(report, study.title))
    for note in crossval_notes(report):
        sys.stdout.write(f"- {for_terminal(note)}\n")


def _describe_this() -> dict[str, str]:
    """Return what is told of all fits at once: none is kept of other packages or other code."""
    packages = []
    for package in ("torch", "scikit-learn", "zuko"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    values = (", ".join(packages), *find_origin(describe_environment()))
    return dict(zip(_ABOUT, values, strict=True))


def _describe(
    report: Report,
    study: CrossValidation,
    about: Mapping[str, str],
    name: str,
    further: Sequence[str] = (),
    level: int = 1,
) -> str:
    """Return the table in Markdown, with all that is needed to judge and repeat it."""
    settings = study.settings
    seeds = ", ".join(map(str, settings.seeds))
    chosen = (
        f"Settings are chosen inside each training fold by {settings.inner_folds}-fold "
        f"cross-validation, by `{settings.select}`; a model without a density by `nll` in place "
        "of `log_prob`."
    )
    told = [
        f"Data: `{settings.data}`. {settings.folds} stratified folds, seeds {seeds} (of the folds "
        "and of the models). Features are standardised by each fold's training rows.",
        *([chosen] if any(len(m.candidates) > 1 for m in study.models.values()) else []),
        f"Each fit is on one CPU thread. {about['packages']}.",
        f"Commit: {about['commit']}. Machine: {about['machine']}.",
        *further,
    ]
    command = f"ugmm crossval {name}"
    return crossval_markdown(report, study.title, command, told, study.models, level)
