"""Published fits of a cross-validation: whether they are of the study that its file describes.

The settings they were made with are kept beside them, in a JSON file of the same name.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ugmm.errors import UserError
from ugmm.reading import read_json
from ugmm.studies.crossval.definition import CrossValidation
from ugmm.studies.published import name_file
from ugmm.writing import write_atomic

__all__ = ["Report", "check_published", "write_settings"]

Report = Mapping[str, Sequence[Mapping[str, Any]]]


def write_settings(root: Path, study: CrossValidation) -> None:
    """Write down what the published fits of a study were made with, a key a line.

    Args:
        root: The project's folder; its published fits are there.
        study: That they are of.
    """
    lines = [f"  {json.dumps(key)}: {json.dumps(v)}" for key, v in _describe(study).items()]
    write_atomic(_settings_path(root, study), "{\n" + ",\n".join(lines) + "\n}\n")


def check_published(root: Path, study: CrossValidation, report: Report) -> None:
    """Refuse what was kept of another study than the one that its file describes by now.

    Of what an earlier version published, which kept no settings, the fits alone are compared.

    Args:
        root: The project's folder.
        study: As its file describes it.
        report: The fits that were kept.

    Raises:
        UserError: If it is another one, or if its settings cannot be read.
    """
    path = name_file(f"crossval {study.name}")
    remedy = f"; take back what was changed in {study.name}, or run it, and publish it anew"
    _check_fits(study, report, path, remedy)
    beside = _settings_path(root, study)
    if not beside.is_file():
        return
    kept = read_json(beside, "publish it anew, or take back what was changed")
    for key, value in _describe(study).items():
        if key in kept and kept[key] != value:
            raise UserError(f"{key} was {json.dumps(kept[key])} in the fits of {path}{remedy}")


def _check_fits(study: CrossValidation, report: Report, path: str, remedy: str) -> None:
    """Refuse fits that are not the ones that the study asks for."""
    fits = [fit for of_model in report.values() for fit in of_model]
    settings = study.settings
    wanted: dict[str, Iterable[Any]] = {
        "models": study.models,
        "data": settings.data,
        "missing": settings.missing,
        "seeds": settings.seeds,
        "folds": range(settings.n_tested),
    }
    columns = {"data": "data", "missing": "missing", "seeds": "seed", "folds": "fold"}
    kept = {key: {fit[column] for fit in fits} for key, column in columns.items()}
    kept["models"] = set(report)
    for key, values in wanted.items():
        if lacking := [value for value in values if value not in kept[key]]:
            raise UserError(f"{key}: {lacking[0]} is not among the fits of {path}{remedy}")
        if gone := kept[key].difference(values):
            raise UserError(f"{key}: {min(gone)} is gone, of which {path} has fits{remedy}")
    for name, model in study.models.items():
        known = [None, *(c.values for c in (*model.candidates, *model.with_gaps))]
        if others := [fit["values"] for fit in report[name] if fit["values"] not in known]:
            chosen = json.dumps(others[0])
            raise UserError(f"models.{name} has no {chosen}, chosen in {path}{remedy}")


def _describe(study: CrossValidation) -> dict[str, Any]:
    """Return all that a study's file says but for its title, by key."""
    described = asdict(study.settings)
    for name, model in study.models.items():
        parts = {"of": model.what, "set": model.fixed, "grid": model.grid, "gaps": model.gaps}
        described |= {f"models.{name}.{part}": value for part, value in parts.items()}
    return described


def _settings_path(root: Path, study: CrossValidation) -> Path:
    return (root / name_file(f"crossval {study.name}")).with_suffix(".json")
