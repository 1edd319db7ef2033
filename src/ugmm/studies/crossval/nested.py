"""Nested cross-validation of generative models: what to fit, what was chosen, what is known.

Every outer training fold is divided into inner folds, by which each model chooses its settings
from its grid; it is then fitted to the whole training fold and tested on the outer test fold,
which nothing before has looked at. Every fit is kept in `fits.jsonl` as soon as it ends.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

import ugmm
from ugmm.baselines.estimators import Estimator
from ugmm.config.choices.data import DataConfig
from ugmm.config.choices.plugins import plugin_records
from ugmm.errors import UserError
from ugmm.runs import describe_environment
from ugmm.studies.crossval.definition import CrossValidation
from ugmm.studies.crossval.fits import Candidate, NetworkEstimator, Place, fit_all
from ugmm.studies.crossval.progress import Fit, Progress
from ugmm.studies.crossval.tables import Rows, read_rows
from ugmm.studies.crossval.turns import take_turns
from ugmm.studies.published import find_origin
from ugmm.terminal import loading
from ugmm.writing import cut_torn_line, explaining

__all__ = ["choose", "cross_validate"]

_NO_PART_OF_A_FIT = ("cli.py", "launch", "report", "tracking")


def cross_validate(
    study: CrossValidation, folder: Path, processes: int, *, shared: bool = False
) -> dict[str, list[dict[str, Any]]] | None:
    """Do all fits that are not yet known.

    Args:
        study: What to compare.
        folder: Holds `fits.jsonl`, which is added to.
        processes: How many fits run at a time, each on one thread.
        shared: Leave the outer folds to others that they are at.

    Returns:
        For each model its outer fits, in the order of `places`: what
        `fit_one` returns, and `data`, `missing`, `seed`, `fold`, `gaps` (whether values are
        missing there), `values` (those chosen, or None where every candidate failed), `failed`
        (how many of its inner fits), and the `commit` and `machine` that it was fitted by. None
        where others are still at some.

    Raises:
        UserError: If the user can mend what keeps a fit from running.
    """
    with loading():
        most, noise = study.settings.rows, study.settings.dequantize
        tables = {
            name: _read_rows(name, config, most, noise) for name, config in study.data.items()
        }
    for name, rows in tables.items():
        _check_folds(name, rows, study)
        _check_gaps(name, rows, study)
    runner = _Runner(study, tables, folder / "fits.jsonl", processes)
    places = study.settings.places()
    if shared and not take_turns(lambda place: runner.report([place]), places, folder / "claims"):
        return None
    return runner.report(places)


def _read_rows(name: str, config: DataConfig, most: int | None, least_noise: float | None) -> Rows:
    try:
        return read_rows(config, most, least_noise)
    except UserError as error:
        raise UserError(f"data={name}: {error}") from error


def _check_folds(name: str, table: Rows, study: CrossValidation) -> None:
    """Refuse more folds than the smallest class has rows."""
    rows = np.bincount(table.y, minlength=len(table.class_names))
    fewest, folds = int(rows.min()), study.settings.folds
    limits = {"folds": fewest}
    chosen_from = [c for m in study.models.values() for c in (m.candidates, m.with_gaps)]
    if any(len(candidates) > 1 for candidates in chosen_from):
        limits["inner_folds"] = fewest - math.ceil(fewest / folds)  # those outside a test fold
    for key, most in limits.items():
        if (asked := getattr(study.settings, key)) > most:
            raise UserError(
                f"{study.name}: {key}={asked} is more than the {most} rows of class "
                f"{table.class_names[int(rows.argmin())]!r} of {name} that it divides; lower it, "
                "or leave that class out"
            )


def _check_gaps(name: str, table: Rows, study: CrossValidation) -> None:
    """Refuse a model that says nothing of gaps where there will be some."""
    if not table.has_gaps and not any(study.settings.missing):
        return
    for model, about in study.models.items():
        if about.gaps is None:
            raise UserError(
                f"{study.name}: values are missing in {name}, and models.{model} says nothing of "
                "that; add gaps: {impute: [mean, iterative]}, or gaps: {} if it takes them as "
                "they are"
            )


def _list_inner_fits(model: str, candidates: int, place: Place, folds: int) -> list[list[Fit]]:
    """Return the inner fits of each candidate; none where there is nothing to choose."""
    folds = folds if candidates > 1 else 0
    return [
        [Fit(model, c, replace(place, inner=inner)) for inner in range(folds)]
        for c in range(candidates)
    ]


def choose(results: Sequence[Sequence[Mapping[str, Any]]], select: str) -> tuple[int | None, int]:
    """Return the best candidate, the first of equals, and how many inner fits failed.

    A candidate of which a fit failed is not chosen. Where one of the others is no density, all are
    compared by the label's likelihood, not by `log_prob`: the two are not of one scale.

    Args:
        results: Of each candidate the results of its inner folds; see `fit_one`.
        select: What decides; `nll` and `label` are of opposite sign.
    """
    name = "label" if select == "nll" else select
    failed = sum(r["error"] is not None for folds in results for r in folds)
    good = [c for c, folds in enumerate(results) if all(r["error"] is None for r in folds)]
    lacking = any(r.get(name) is None for c in good for r in results[c])
    own = "label" if lacking else name

    def value(candidate: int) -> float:
        return sum(r[own] for r in results[candidate])

    return (max(good, key=value) if good else None), failed


class _Runner:
    """Does fits, and keeps each in a file as it ends.

    Arguments:
        study: Whose fits they are.
        tables: The data sets' rows.
        path: The file.
        processes: See `fit_all`.
    """

    def __init__(
        self, study: CrossValidation, tables: Mapping[str, Rows], path: Path, processes: int
    ) -> None:
        self.study, self.tables, self.processes = study, tables, processes
        self.path = path
        self.lock = FileLock(path.with_name(".fits.lock"), is_singleton=True)
        self.known: dict[str, dict[str, Any]] = {}
        self.digests = {name: rows.digest for name, rows in tables.items()}
        self.code = _hash_code()
        self.origin = find_origin(describe_environment())._asdict()

    def report(self, places: Sequence[Place]) -> dict[str, list[dict[str, Any]]]:
        """Do all fits of some outer folds that are not known; see `cross_validate`."""
        self.known |= self._read_fits()
        models, settings = self.study.models, self.study.settings
        sizes = {
            (model, place): len(self._candidates(model, place))
            for place in places
            for model in models
        }
        outer = [at for at, size in sizes.items() if size]
        searches = {
            at: _list_inner_fits(at[0], sizes[at], at[1], settings.n_inner_tested) for at in outer
        }
        inner = [fit for search in searches.values() for fits in search for fit in fits]
        done = self.run(inner, later=len(outer))
        choices = {
            at: choose([[done[fit] for fit in fits] for fits in search], settings.select)
            for at, search in searches.items()
        }
        final = self.run(
            [
                Fit(model, best, place)
                for (model, place), (best, _) in choices.items()
                if best is not None
            ]
        )
        report: dict[str, list[dict[str, Any]]] = {model: [] for model in models}
        for (model, place), (best, failed) in choices.items():
            result: Mapping[str, Any] = {"error": "every candidate failed", "warnings": []}
            values = None
            if best is not None:
                result = final[Fit(model, best, place)]
                values = self._candidates(model, place)[best].values
            about = {"gaps": self._has_gaps(place), "values": values, "failed": failed}
            where = {name: getattr(place, name) for name in ("data", "missing", "seed", "fold")}
            report[model].append({**result, **where, **about})
        return report

    def run(self, fits: Sequence[Fit], later: int = 0) -> dict[Fit, dict[str, Any]]:
        """Return the results of fits, doing those not known; `later` is how many will follow."""
        keys = {fit: self._key(fit) for fit in fits}
        missing = [fit for fit in fits if keys[fit] not in self.known]
        jobs = [(self._candidate(fit), fit.place) for fit in missing]
        progress = Progress(len(missing), later)
        for number, result in fit_all(jobs, self.tables, self.processes):
            fit = missing[number]
            values = self._candidate(fit).values
            about = {"model": fit.model, "values": values, **asdict(fit.place), **self.origin}
            line = {"key": keys[fit], **about, **result}
            # Others may be writing there, and not every file system appends a line as a whole.
            with explaining(self.path), self.lock, self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self.known[keys[fit]] = line
            progress.show(fit, result)
        return {fit: self.known[keys[fit]] for fit in fits}

    def _read_fits(self) -> dict[str, dict[str, Any]]:
        with explaining(self.path), self.lock:
            return _read_fits(self.path)

    def _candidates(self, model: str, place: Place) -> list[Candidate]:
        """Return what a model chooses from; nothing where it is left out."""
        about = self.study.models[model]
        return about.with_gaps if self._has_gaps(place) else about.candidates

    def _has_gaps(self, place: Place) -> bool:
        return place.missing > 0 or self.tables[place.data].has_gaps

    def _candidate(self, fit: Fit) -> Candidate:
        return self._candidates(fit.model, fit.place)[fit.candidate]

    def _key(self, fit: Fit) -> str:
        """Return a hash of everything that decides on the result."""
        candidate = self._candidate(fit)
        described = {
            **asdict(fit.place),
            "data": self.digests[fit.place.data],
            "code": self.code,
            "impute": candidate.impute,
            **_describe_estimator(candidate.estimator),
        }
        if fit.place.inner is None:
            del described["inner_folds"]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def _describe_estimator(estimator: Estimator) -> dict[str, Any]:
    if isinstance(estimator, NetworkEstimator):
        config = estimator.config
        parts = (config.data, config.model, config.task, config.optimizer, config.schedule)
        return {"experiment": [asdict(part) for part in (*parts, config.trainer)]}
    return {"baseline": type(estimator).__name__, **vars(estimator)}


def _hash_code() -> str:
    """Return a hash of the package, less what no fit runs, of plugins, and of what they call.

    A list of what a fit does run would be shorter, and wrong as soon as somebody forgot it.
    """
    package = Path(ugmm.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in _NO_PART_OF_A_FIT:
            digest.update(path.read_bytes())
    digest.update(json.dumps(plugin_records()).encode())
    for name in ("torch", "numpy", "scikit-learn", "lightning"):
        digest.update(version(name).encode())
    return digest.hexdigest()


def _read_fits(path: Path) -> dict[str, dict[str, Any]]:
    """Return the results in a file by their keys, less the failures, which are tried again.

    A last line that was cut short, because the process was killed, is cut off.
    """
    if not path.exists():
        return {}
    cut_torn_line(path)
    found = {}
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = _check_fit(json.loads(text))
        except (ValueError, KeyError, RecursionError) as error:
            raise UserError(
                f"{path} is damaged (line {number}: {error}); remove that line, whose fit is then "
                "done again"
            ) from error
        if line["error"] is None:
            found[line["key"]] = line
    return found


def _check_fit(line: Any) -> dict[str, Any]:
    """Return a line of the file, if it is what `_Runner.run` writes."""
    if not isinstance(line, dict) or not isinstance(line["key"], str):
        raise ValueError("no fit")
    if line["error"] is not None:
        return line
    for name in ("accuracy", "label", "seconds", "log_prob"):
        is_none = line[name] is None and name == "log_prob"  # of what is no density
        if not (is_none or isinstance(line[name], int | float)):
            raise ValueError(f"{name} is {line[name]!r}")
    if not isinstance(line["warnings"], list):
        raise ValueError(f"warnings are {line['warnings']!r}")
    return line
