"""A cross-validation's file: the models compared, on which folds, and what they choose from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ugmm.baselines import BASELINES, Estimator
from ugmm.config.choices.data import DataConfig
from ugmm.config.compose import compose_data
from ugmm.config.files import named_file, title_of
from ugmm.config.merge import make_settings, read_yaml
from ugmm.config.values import as_text
from ugmm.errors import UserError, nearest
from ugmm.keys import key
from ugmm.studies.crossval.fits import NetworkEstimator
from ugmm.studies.grid import compose_settings, expand_grid
from ugmm.yaml_text import to_values

__all__ = ["CrossValidation", "CrossValidationSettings", "Model", "read_crossvalidation"]


@dataclass
class CrossValidationSettings:
    """The keys of a cross-validation's file, less its models."""

    data: str = key()
    folds: int = key(5, low=2, high=10**6)
    inner_folds: int = key(3, low=2, high=10**6)
    seeds: list[int] = key([0, 1, 2, 3, 4], low=0, high=2**31 - 1)
    select: Literal["log_prob", "nll", "accuracy"] = "log_prob"


@dataclass(frozen=True)
class Model:
    """One of the models compared.

    Attributes:
        what: `baseline qda`, `experiment iris_gen`.
        fixed: Settings that all candidates share.
        grid: Values to choose from.
        candidates: The estimators of the grid, by the values that each has of it.
    """

    what: str
    fixed: dict[str, Any]
    grid: dict[str, list[Any]]
    candidates: list[tuple[dict[str, Any], Estimator]]


@dataclass(frozen=True)
class CrossValidation:
    """A file of `experiments/crossval/`, wholly checked.

    Attributes:
        name: Of the file.
        title: Its first line.
        settings: Its plain keys.
        data: The data set.
        models: What is compared, by name.
    """

    name: str
    title: str
    settings: CrossValidationSettings
    data: DataConfig
    models: Mapping[str, Model]


def read_crossvalidation(name: str, root: Path | None = None) -> CrossValidation:
    """Read and check a cross-validation's file.

    Args:
        name: Of a file in `experiments/crossval/`, or the path of a YAML file.
        root: See `ugmm.config.compose.compose`.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    path = named_file(name, "experiments/crossval", root)
    values = read_yaml(path)
    entries = values.pop("models", None)
    settings: CrossValidationSettings = make_settings(CrossValidationSettings, values, str(path))
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise UserError(f"{path}: seeds must be different numbers, at least one")
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path}: models must map names to baselines and experiments")
    data = compose_data(settings.data, str(path), root)
    if data.has_target:
        raise UserError(
            f"{path}: data={data.name} has a number to predict, and cross-validations compare "
            "models of classes; compare regressions as an ablation over folds"
        )
    models = {
        model: _read_model(entry, f"{path}: models.{model}", settings.data, root)
        for model, entry in entries.items()
    }
    return CrossValidation(path.stem, title_of(path) or path.stem, settings, data, models)


def _read_model(entry: Any, source: str, data: str, root: Path | None) -> Model:
    if not isinstance(entry, dict):
        raise UserError(f"{source} must be such as {{baseline: qda, grid: {{reg: [0.0, 0.1]}}}}")
    known = ("baseline", "experiment", "set", "grid")
    for name in entry:
        if name not in known:
            raise UserError(f"{source}: unknown key '{name}'; {nearest(name, known)}")
    kinds = [kind for kind in known[:2] if kind in entry]
    if len(kinds) != 1:
        raise UserError(f"{source} must name either a baseline or an experiment")
    fixed, grid = (
        {} if to_values(entry.get(name)) is None else entry[name] for name in ("set", "grid")
    )
    if not isinstance(fixed, dict) or not isinstance(grid, dict):
        raise UserError(f"{source}: set and grid must map keys to values")
    for name in grid:
        if name in fixed:
            raise UserError(f"{source}: {name} is both in set and in grid")
    what = as_text(entry[kinds[0]])
    candidates: list[tuple[dict[str, Any], Estimator]] = []
    for values in expand_grid(grid, source):
        if kinds[0] == "baseline":
            estimator = _make_baseline(what, {**fixed, **values}, source)
        else:
            estimator = _make_network(what, {"data": data, **fixed, **values}, source, root)
        candidates.append((to_values(values), estimator))
    return Model(f"{kinds[0]} {what}", to_values(fixed), to_values(grid), candidates)


def _make_baseline(name: str, settings: dict[str, Any], source: str) -> Estimator:
    if name not in BASELINES:
        raise UserError(f"{source}: unknown baseline {name!r}; {nearest(name, BASELINES)}")
    baseline = make_settings(BASELINES[name], settings, source)
    baseline.check()
    return baseline


def _make_network(
    name: str, settings: dict[str, Any], source: str, root: Path | None
) -> Estimator:
    # Every fit has one thread, for fits run beside each other.
    settings = {**settings, "trainer.threads": 1}
    return NetworkEstimator(compose_settings(name, settings, source, root))
