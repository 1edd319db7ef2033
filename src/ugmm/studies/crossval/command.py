"""The command `ugmm crossval`: cross-validate, print the table, and write it down."""

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from ugmm.config.files import project_root
from ugmm.errors import UserError
from ugmm.report.escaping import for_terminal
from ugmm.report.study.crossval import (
    crossval_csv,
    crossval_markdown,
    crossval_notes,
    crossval_table,
)
from ugmm.report.study.tables import Case, gather, tables_markdown, tables_summary
from ugmm.studies.crossval.definition import CrossValidation, read_crossvalidation
from ugmm.studies.crossval.nested import cross_validate
from ugmm.studies.crossval.published import Report, check_published, write_settings
from ugmm.studies.published import (
    Origin,
    describe_origins,
    format_report,
    link_published,
    parse_report,
    read_published,
    write_published,
)
from ugmm.studies.results import publish_section
from ugmm.writing import make_folder, write_atomic

__all__ = ["run_crossval"]

_ABOUT = ("packages",)  # what is kept beside the fits


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
            (see `ugmm.studies.published`) and settings; of several tables the picture in it, too.
        published: Show what was kept when it was published, and fit nothing.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    if processes < 1:
        raise UserError(f"--jobs must be at least 1, got {processes}")
    study = read_crossvalidation(name)
    known_as = f"crossval {study.name}"
    several = study.settings.several
    show, describe = (_show_tables, _describe_tables) if several else (_show, _describe)
    picture = f"docs/images/crossval/{study.name}.png"
    if published:
        lines = read_published(project_root(), known_as, f"ugmm crossval {name} --publish")
        report, about = parse_report(lines, study.models, _ABOUT, known_as)
        check_published(project_root(), study, report)
        show(report, study)
    else:
        folder = Path(runs_dir) / "crossval" / study.name
        make_folder(folder)
        found = cross_validate(study, folder, processes, shared=shared)
        if found is None:
            sys.stdout.write("others are at what is left; the last of them shows the table\n")
            return
        report, about = found, _describe_this()
        show(report, study)  # first, so that it can be read where nothing can be written
        write_atomic(folder / "table.md", describe(report, study, about, name, "ranks.png"))
        if several:
            _draw(report, study, folder / "ranks.png")
        else:
            write_atomic(folder / "table.csv", crossval_csv(report))
        sys.stdout.write(f"with the grids and what was chosen: {folder}/table.md\n")
    if publish:
        root = project_root()
        if not published:
            write_published(root, known_as, format_report(report, about))
        write_settings(root, study)
        if several:
            _draw(report, study, root / picture)
        link = f"../{quote(picture)}"
        further = [link_published(known_as)]
        section = describe(report, study, about, name, link, further, level=3)
        path = publish_section(root, known_as, section)
        sys.stdout.write(f"published in {path}\n")


def _show(report: Report, study: CrossValidation) -> None:
    """Print the table."""
    from rich.console import Console

    Console().print(crossval_table(report, study.title))
    for note in crossval_notes(report):
        sys.stdout.write(f"- {for_terminal(note)}\n")


def _show_tables(report: Report, study: CrossValidation) -> None:
    """Print how models of several tables rank, and what tests say."""
    summary = tables_summary(_gather(report, study), next(iter(study.models)))
    for line in "\n".join(summary).splitlines():
        sys.stdout.write(f"{for_terminal(line)}\n")


def _draw(report: Report, study: CrossValidation, path: Path) -> None:
    """Draw how models of several tables rank."""
    from ugmm.report.study.ranks import draw_ranks
    from ugmm.report.style import save

    if cases := _gather(report, study):  # none where every fit failed
        save(draw_ranks(cases, study.title, next(iter(study.models))), path)


def _gather(report: Report, study: CrossValidation) -> list[Case]:
    return gather(report, with_density=study.settings.select == "log_prob")


def _describe_this() -> dict[str, str]:
    """Return what is told of all fits at once: none that other packages made is taken."""
    packages = []
    for package in ("torch", "scikit-learn", "zuko"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return {"packages": ", ".join(packages)}


def _describe(
    report: Report,
    study: CrossValidation,
    about: Mapping[str, str],
    name: str,
    picture: str,  # noqa: ARG001  of several tables
    further: Sequence[str] = (),
    level: int = 1,
) -> str:
    """Return the table in Markdown, with all that is needed to judge and repeat it."""
    told = [*_tell(study, about, report), *further]
    command = f"ugmm crossval {name}"
    return crossval_markdown(report, study.title, command, told, study.models, level)


def _describe_tables(
    report: Report,
    study: CrossValidation,
    about: Mapping[str, str],
    name: str,
    picture: str,
    further: Sequence[str] = (),
    level: int = 1,
) -> str:
    """Return the page of several tables; see `_describe`."""
    told = [*_tell(study, about, report), *further]
    cases, command = _gather(report, study), f"ugmm crossval {name}"
    return tables_markdown(report, study.title, command, told, study.models, cases, picture, level)


def _tell(study: CrossValidation, about: Mapping[str, str], report: Report) -> list[str]:
    """Return sentences on data, folds, settings and what computed."""
    made = [fit for fits in report.values() for fit in fits if fit["values"] is not None]
    origins = [Origin(*(fit.get(name) or "unknown" for name in Origin._fields)) for fit in made]
    settings = study.settings
    seeds = ", ".join(map(str, settings.seeds))
    data = ", ".join(f"`{name}`" for name in settings.data)
    if settings.rows is not None:
        data += (
            f", at most {settings.rows} rows of each, drawn once with the shares of its classes"
        )
    continuous = (
        "Values are made continuous: each has uniform noise added, as wide as the smallest step "
        f"between the values of its feature and at least {settings.dequantize} standard "
        "deviations, drawn once, the same for all models, in training rows and in test rows. Rows "
        "with a gap and features that are constant are left out."
    )
    folds = f"{settings.folds} stratified folds"
    if settings.n_tested < settings.folds:
        folds = f"The first {settings.n_tested} of {folds}"
    inner = f"{settings.inner_folds}-fold cross-validation"
    if settings.n_inner_tested < settings.inner_folds:
        inner = f"the first {settings.n_inner_tested} of {settings.inner_folds} folds"
    density = ""
    if settings.select == "log_prob":
        density = "; those of a model with a candidate that is no density by `nll`"
    chosen = f"Settings are chosen inside each training fold by {inner}, by `{settings.select}`"
    hidden = (
        f"{', '.join(f'{share:.0%}' for share in settings.missing)} of the cells are hidden "
        "completely at random, in training rows and in test rows, and the same ones from all "
        "models: which depends on the seed alone. `impute`: gaps are filled by the column's mean, "
        "or by ridge regressions on the other columns in turn (`IterativeImputer`), fitted to "
        "training rows; models that choose no `impute` are given the gaps."
    )
    fixed = (
        "What stands below with `=` is the same in all fits: it was not searched in these folds."
    )
    lists = [c for m in study.models.values() for c in (m.candidates, m.with_gaps)]
    return [
        f"Data: {data}. {folds}, seeds {seeds} (of the folds and of the models). Features are "
        "standardised by each fold's training rows.",
        *([continuous] if settings.dequantize is not None else []),
        *([hidden] if settings.missing != [0.0] else []),
        *([f"{chosen}{density}."] if any(len(candidates) > 1 for candidates in lists) else []),
        *([fixed] if any(model.fixed for model in study.models.values()) else []),
        f"Each fit is on one CPU thread. {about['packages']}.",
        *describe_origins(origins, "fit"),
    ]
