"""The command `ugmm crossval`: cross-validate, print the table, and write it down."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ugmm.config.files import project_root
from ugmm.errors import UserError
from ugmm.report.escaping import for_terminal
from ugmm.report.study.crossval import (
    crossval_csv,
    crossval_markdown,
    crossval_notes,
    crossval_table,
)
from ugmm.studies.crossval.definition import CrossValidation, read_crossvalidation
from ugmm.studies.crossval.nested import cross_validate
from ugmm.studies.results import publish_section
from ugmm.writing import make_folder, write_atomic

__all__ = ["run_crossval"]


def run_crossval(
    name: str,
    processes: int,
    runs_dir: Path | str = "runs",
    *,
    shared: bool = False,
    publish: bool = False,
) -> None:
    """Run a cross-validation, or what is left of it, and show its table.

    Args:
        name: See `ugmm.studies.crossval.definition.read_crossvalidation`.
        processes: How many fits run at a time.
        runs_dir: The folder `crossval/<name>` is made in it.
        shared: Take turns with other processes; the last to end shows the table.
        publish: Also write its section of `experiments/RESULTS.md`.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    if processes < 1:
        raise UserError(f"--jobs must be at least 1, got {processes}")
    study = read_crossvalidation(name)
    folder = Path(runs_dir) / "crossval" / study.name
    make_folder(folder)
    report = cross_validate(study, folder, processes, shared=shared)
    if report is None:
        sys.stdout.write("others are at what is left; the last of them shows the table\n")
        return

    from rich.console import Console

    # First, so that it can be read where nothing can be written.
    Console().print(crossval_table(report, study.title))
    for note in crossval_notes(report):
        sys.stdout.write(f"- {for_terminal(note)}\n")
    parts = (report, study.title, f"ugmm crossval {name}", _describe(study), study.models)
    write_atomic(folder / "table.md", crossval_markdown(*parts))
    write_atomic(folder / "table.csv", crossval_csv(report))
    sys.stdout.write(f"with the grids and what was chosen: {folder}/table.md\n")
    if publish:
        section = crossval_markdown(*parts, level=3)
        path = publish_section(project_root(), f"crossval {study.name}", section)
        sys.stdout.write(f"published in {path}\n")


def _describe(study: CrossValidation) -> list[str]:
    settings = study.settings
    packages = []
    for package in ("torch", "scikit-learn", "zuko"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    seeds = ", ".join(map(str, settings.seeds))
    chosen = (
        f"Settings are chosen inside each training fold by {settings.inner_folds}-fold "
        f"cross-validation, by `{settings.select}`; a model without a density by `nll` in place "
        "of `log_prob`."
    )
    return [
        f"Data: `{settings.data}`. {settings.folds} stratified folds, seeds {seeds} (of the folds "
        "and of the models). Features are standardised by each fold's training rows.",
        *([chosen] if any(len(m.candidates) > 1 for m in study.models.values()) else []),
        f"Each fit is on one CPU thread. {', '.join(packages)}.",
    ]
