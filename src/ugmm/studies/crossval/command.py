"""The command `ugmm crossval`: cross-validate, print the table, and write it down."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ugmm.config.files import project_root
from ugmm.config.merge import read_text
from ugmm.errors import UserError
from ugmm.report.escaping import for_terminal
from ugmm.report.study.crossval import (
    crossval_csv,
    crossval_markdown,
    crossval_notes,
    crossval_table,
)
from ugmm.report.study.tables import fits_csv, gather, read_fits, tables_markdown
from ugmm.studies.crossval.definition import CrossValidation, read_crossvalidation
from ugmm.studies.crossval.nested import cross_validate
from ugmm.studies.results import publish_section
from ugmm.writing import make_folder, write_atomic

__all__ = ["run_crossval"]

Report = dict[str, list[dict[str, Any]]]
_PICTURES = "docs/images/crossval"


def run_crossval(
    name: str,
    processes: int,
    runs_dir: Path | str = "runs",
    *,
    shared: bool = False,
    fits: str | None = None,
    publish: bool = False,
) -> None:
    """Run a cross-validation, or what is left of it, and show its table.

    Args:
        name: See `ugmm.studies.crossval.definition.read_crossvalidation`.
        processes: How many fits run at a time.
        runs_dir: The folder `crossval/<name>` is made in it.
        shared: Take turns with other processes; the last to end shows the table.
        fits: A `fits.csv` that it wrote before, to make the page of in place of fitting.
        publish: Also write its section of `experiments/RESULTS.md`; and of several tables the
            picture in it, and all fits, to `experiments/crossval/NAME.csv`.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    if processes < 1:
        raise UserError(f"--jobs must be at least 1, got {processes}")
    study = read_crossvalidation(name)
    folder = Path(runs_dir) / "crossval" / study.name
    make_folder(folder)
    report: Report | None
    if fits is not None:
        report = read_fits(read_text(Path(fits)), fits, list(study.models))
    else:
        report = cross_validate(study, folder, processes, shared=shared)
    if report is None:
        sys.stdout.write("others are at what is left; the last of them shows the table\n")
        return
    several = len(study.settings.data) > 1 or study.settings.missing != [0.0]
    show = _show_tables if several else _show_table
    section = show(report, study, f"ugmm crossval {name}", folder)
    write_atomic(folder / "fits.csv", fits_csv(report))
    sys.stdout.write(f"with the grids and what was chosen: {folder}/table.md\n")
    if publish:
        root = project_root()
        if several:
            write_atomic(root / f"experiments/crossval/{study.name}.csv", fits_csv(report))
            picture = root / _PICTURES / f"{study.name}.png"
            make_folder(picture.parent)
            write_atomic(picture, (folder / "ranks.png").read_bytes())
        path = publish_section(root, f"crossval {study.name}", section)
        sys.stdout.write(f"published in {path}\n")


def _show_table(report: Report, study: CrossValidation, command: str, folder: Path) -> str:
    """Show the table of one data set, write it down, and return it as a section to publish."""
    from rich.console import Console

    # First, so that it can be read where nothing can be written.
    Console().print(crossval_table(report, study.title))
    for note in crossval_notes(report):
        sys.stdout.write(f"- {for_terminal(note)}\n")
    parts = (report, study.title, command, _describe(study), study.models)
    write_atomic(folder / "table.md", crossval_markdown(*parts))
    write_atomic(folder / "table.csv", crossval_csv(report))
    return crossval_markdown(*parts, level=3)


def _show_tables(report: Report, study: CrossValidation, command: str, folder: Path) -> str:
    """Write down the page of several data sets, and show its first part; see `_show_table`."""
    from ugmm.report.study.ranks import draw_ranks
    from ugmm.report.style import save

    cases = gather(report, with_density=study.settings.select == "log_prob")
    parts = (report, study.title, command, _describe(study), study.models, cases)
    page = tables_markdown(*parts, "ranks.png")
    for line in page.partition("## Each table")[0].strip().splitlines():
        sys.stdout.write(f"{for_terminal(line)}\n")
    write_atomic(folder / "table.md", page)
    save(draw_ranks(cases, study.title, next(iter(study.models))), folder / "ranks.png")
    return tables_markdown(*parts, f"../{_PICTURES}/{quote(study.name)}.png", level=3)


def _describe(study: CrossValidation) -> list[str]:
    settings = study.settings
    packages = []
    for package in ("torch", "scikit-learn", "zuko"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    seeds = ", ".join(map(str, settings.seeds))
    data = ", ".join(f"`{name}`" for name in settings.data)
    folds = f"{settings.folds} stratified folds"
    if settings.n_tested < settings.folds:
        folds = f"The first {settings.n_tested} of {folds}"
    inner = f"{settings.inner_folds}-fold cross-validation"
    if settings.n_inner_tested < settings.inner_folds:
        inner = f"the first {settings.n_inner_tested} of {settings.inner_folds} folds"
    chosen = (
        f"Settings are chosen inside each training fold by {inner}, by `{settings.select}`; a "
        "model without a density by `nll` in place of `log_prob`."
    )
    lists = [c for m in study.models.values() for c in (m.candidates, m.with_gaps)]
    hidden = (
        f"{', '.join(f'{share:.0%}' for share in settings.missing)} of the cells are hidden "
        "completely at random, in training rows and in test rows, and the same ones from all "
        "models: which depends on the seed alone. `impute`: gaps are filled by the column's mean, "
        "or by ridge regressions on the other columns in turn (`IterativeImputer`), fitted to "
        "training rows; models that choose no `impute` are given the gaps."
    )
    if settings.rows is not None:
        data += (
            f", at most {settings.rows} rows of each, drawn once with the shares of its classes"
        )
    return [
        f"Data: {data}. {folds}, seeds {seeds} (of the folds "
        "and of the models). Features are standardised by each fold's training rows.",
        *([hidden] if any(m.gaps is not None for m in study.models.values()) else []),
        *([chosen] if any(len(candidates) > 1 for candidates in lists) else []),
        f"Each fit is on one CPU thread. {', '.join(packages)}.",
    ]
