"""The runs behind a published section, `experiments/published/`: a CSV file a study, a line a run.

From such a file, and the study's YAML, its section follows again without any run folder: each
mean, interval and p-value.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ugmm.errors import UserError
from ugmm.reading import read_text
from ugmm.report.escaping import csv_text, for_markdown, for_spreadsheet
from ugmm.report.statistics import Record
from ugmm.report.tables import format_count
from ugmm.runs import Run
from ugmm.writing import make_folder, write_atomic

__all__ = [
    "Origin",
    "describe_origins",
    "find_origin",
    "format_report",
    "link_published",
    "name_file",
    "parse_records",
    "parse_report",
    "read_origins",
    "read_published",
    "tell_runs",
    "write_published",
]

FOLDER = "experiments/published"
_PLAN = ("key", "model", "folds", "inner_folds", "inner")  # of fits that were read from a file
_TEXTS = ("commit", "machine")  # though they may look like a number
_NO_METRICS = ("variant", "seed", "fold", "run", "commit", "machine", "search")


class Origin(NamedTuple):
    """What a run was made of.

    Attributes:
        commit: Ten digits, and whether there were changes.
        machine: Its system, and how many CPUs it has.
    """

    commit: str
    machine: str


def find_origin(environment: Mapping[str, Any]) -> Origin:
    """Return the origin of a run by its `environment.json`, which may say less."""
    git = environment.get("git") or {}
    changes = " with changes" if git.get("dirty") else ""
    platform, cpus = (environment.get(name, "unknown") for name in ("platform", "cpus"))
    return Origin((git.get("commit") or "unknown")[:10] + changes, f"{platform}, {cpus} CPUs")


def read_origins(records: Iterable[Record]) -> list[Origin | None]:
    """Return where runs come from; None of a folder that was copied in part."""
    runs = [Run(record.folder) for record in records]
    return [find_origin(r.read_environment()) if r.environment.is_file() else None for r in runs]


def describe_origins(origins: Iterable[Origin | None], noun: str = "run") -> list[str]:
    """Say of which commits the runs were made, and on which machines; `noun` is what they are."""
    known = [origin for origin in origins if origin is not None]
    counts = {name: Counter(getattr(o, name) for o in known) for name in Origin._fields}
    return [
        f"{name.capitalize()}: "
        + "; ".join(f"{what} ({format_count(n, noun)})" for what, n in found.items())
        + "."
        for name, found in counts.items()
        if found
    ]


def name_file(study: str) -> str:
    """Return where the runs of a study are published, below the project's folder.

    Args:
        study: As its section is marked: `mnist_norm`, `crossval iris`.
    """
    kind, _, name = study.rpartition(" ")
    return f"{FOLDER}/{kind or 'ablations'}/{name}.csv"


def link_published(study: str) -> str:
    """Return the sentence of a section that leads to what is kept of its runs, in Markdown."""
    kind, name = Path(name_file(study)).parts[-2:]
    text = for_markdown(f"published/{kind}/{name}")
    return f"A line a run, with all digits: [{text}](published/{kind}/{quote(name)})."


def write_published(root: Path, study: str, text: str) -> None:
    """Write down the runs of a study, as `runs_csv` or `format_report` formats them."""
    path = root / name_file(study)
    make_folder(path.parent)
    write_atomic(path, text)


def read_published(root: Path, study: str, command: str) -> list[dict[str, str]]:
    """Return the lines of a study's file.

    Args:
        root: The project's folder.
        study: See `name_file`.
        command: What publishes it.

    Raises:
        UserError: If there is none.
    """
    path = root / name_file(study)
    text = read_text(path, f"publish it anew: {command}") if path.is_file() else ""
    if lines := list(csv.DictReader(io.StringIO(text))):
        return lines
    raise UserError(f"no run of {study} is kept in {path}; run it, and publish it: {command}")


def tell_runs(
    records: Sequence[Record], origins: Sequence[Origin | None], searches: Mapping[str, str]
) -> dict[str, list[str | None]]:
    """Return what is kept of runs beside their metrics, as columns.

    Args:
        records: The runs.
        origins: Where each comes from.
        searches: What is told of the search that chose a variant, by the variant's name.
    """
    told: dict[str, list[str | None]] = {
        name: [None if origin is None else getattr(origin, name) for origin in origins]
        for name in Origin._fields
    }
    if searches:
        told["search"] = [searches.get(record.variant) for record in records]
    return told


def parse_records(
    lines: Sequence[Mapping[str, str]], variants: Iterable[str], study: str
) -> tuple[list[Record], list[Origin | None], dict[str, str]]:
    """Return what an ablation's file says: the runs, and what `tell_runs` is given beside them.

    Args:
        lines: Of the file, which `runs_csv` formatted.
        variants: Of the study: their names may be escaped in the file.
        study: What a mistake is told of.

    Raises:
        UserError: If a line is damaged.
    """
    names = {for_spreadsheet(variant): variant for variant in variants}
    records: list[Record] = []
    origins: list[Origin | None] = []
    searches: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        try:
            cells = {name: cell for name, cell in line.items() if cell}
            figures = {n: _number(cell) for n, cell in cells.items() if n not in _NO_METRICS}
            variant = names.get(cells["variant"], cells["variant"])
            fold = int(cells["fold"]) if "fold" in cells else None
            records.append(Record(variant, int(cells["seed"]), fold, Path(cells["run"]), figures))
        except (KeyError, ValueError, TypeError) as error:
            raise _damaged(study, number, error) from error
        commit, machine = cells.get("commit"), cells.get("machine")
        origins.append(Origin(commit, machine) if commit and machine else None)
        if "search" in cells:
            searches[variant] = cells["search"]
    return records, origins, searches


def format_report(
    report: Mapping[str, Sequence[Mapping[str, Any]]], about: Mapping[str, str]
) -> str:
    """Return the outer fits of a cross-validation as CSV, all that is known of each.

    Args:
        report: See `ugmm.studies.crossval.nested.cross_validate`.
        about: Further cells of each line, by column.
    """
    names = (name for fits in report.values() for fit in fits for name in fit)
    columns = [name for name in dict.fromkeys(names) if name not in _PLAN]
    lines: list[Sequence[Any]] = [["model", *columns, *about]]
    for model, of_model in report.items():
        lines += [[model, *(_cell(f.get(n)) for n in columns), *about.values()] for f in of_model]
    return csv_text(lines)


def parse_report(
    lines: Sequence[Mapping[str, str]], models: Iterable[str], about: Iterable[str], study: str
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Return what `format_report` was given.

    Args:
        lines: Of the file.
        models: Of the study: their names may be escaped in the file.
        about: The further columns.
        study: What a mistake is told of.

    Raises:
        UserError: If a line is damaged.
    """
    names = {for_spreadsheet(model): model for model in models}
    report: dict[str, list[dict[str, Any]]] = {}
    told: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        try:
            told = {name: line[name] for name in about}
            cells = {n: c for n, c in line.items() if n not in told and n != "model"}
            fit = {n: (c or None) if n in _TEXTS else _value(c) for n, c in cells.items()}
            report.setdefault(names.get(line["model"], line["model"]), []).append(fit)
        except (KeyError, TypeError) as error:
            raise _damaged(study, number, error) from error
    return report, told


def _number(cell: str) -> float:
    """Return the number that was written: a count stays one, to be written so again."""
    return int(cell) if cell.isdecimal() else float(cell)


def _cell(value: Any) -> Any:
    """Return a cell that `_value` reads back: numbers as they are, lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | dict | bool) else value


def _value(cell: str) -> Any:
    if not cell:
        return None
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _damaged(study: str, number: int, error: Exception) -> UserError:
    return UserError(
        f"{name_file(study)} is damaged (line {number}: {error!r}); publish {study} anew, or take "
        "back what was changed"
    )
