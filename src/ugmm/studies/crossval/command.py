"""The command `ugmm crossval`: cross-validate, print the table, and write it down."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ugmm.errors import UserError
from ugmm.report.study.crossval import crossval_csv, crossval_markdown, crossval_table
from ugmm.runs import write_atomic
from ugmm.studies.crossval.definition import Evaluation, read_evaluation
from ugmm.studies.crossval.nested import cross_validate

__all__ = ["crossval"]


def crossval(name: str, processes: int, runs_dir: Path | str = "runs") -> None:
    """Run an evaluation, or what is left of it, and show its table.

    Args:
        name: See `ugmm.studies.crossval.definition.read_evaluation`.
        processes: How many fits run at a time.
        runs_dir: The folder `crossval/<name>` is made in it.

    Raises:
        UserError: If anything the user can mend keeps it from running.
    """
    if processes < 1:
        raise UserError(f"--jobs={processes} must be at least 1")
    evaluation = read_evaluation(name)
    folder = Path(runs_dir) / "crossval" / evaluation.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from error
    report = cross_validate(evaluation, folder, processes)
    markdown = crossval_markdown(
        report, evaluation.title, f"ugmm crossval {name}", _about(evaluation), evaluation.models
    )
    write_atomic(folder / "table.md", markdown)
    write_atomic(folder / "table.csv", crossval_csv(report))

    from rich.console import Console

    Console().print(crossval_table(report, evaluation.title))
    if "## What went wrong" in markdown:
        sys.stdout.write(markdown.partition("## What went wrong\n\n")[2])
    sys.stdout.write(f"with the grids and what was chosen: {folder}/table.md\n")


def _about(evaluation: Evaluation) -> list[str]:
    s = evaluation.settings
    packages = []
    for package in ("torch", "scikit-learn", "zuko"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    chosen = (
        f"Settings are chosen inside each training fold by {s.inner_folds}-fold cross-validation, "
        f"by `{s.select}`; a model without a density by `nll` in place of `log_prob`."
    )
    return [
        f"Data: `{s.data}`. {s.folds} stratified folds, seeds {', '.join(map(str, s.seeds))} (of "
        "the folds and of the models). Features are standardised by each fold's training rows.",
        *([chosen] if any(len(m.candidates) > 1 for m in evaluation.models.values()) else []),
        f"Each fit is on one CPU thread. {', '.join(packages)}.",
    ]
