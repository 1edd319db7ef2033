"""An evaluation's file: which models are compared, on which folds, and what they choose from."""

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ugmm.baselines import BASELINES, Estimator
from ugmm.config.compose import (
    assignment,
    compose,
    compose_data,
    filled,
    read_yaml,
)
from ugmm.config.files import named_file, title_of
from ugmm.config.schema import DataConfig
from ugmm.errors import UserError, nearest
from ugmm.keys import key
from ugmm.studies.crossval.fits import Experiment

__all__ = ["Evaluation", "Model", "Settings", "read_evaluation"]


@dataclass
class Settings:
    """The keys of an evaluation's file, less its models."""

    data: str = key()
    folds: int = key(5, low=2)
    inner_folds: int = key(3, low=2)
    seeds: list[int] = key([0, 1, 2, 3, 4], low=0)
    select: Literal["log_prob", "nll", "accuracy"] = "log_prob"


@dataclass
class Model:
    """A row of the table.

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


@dataclass
class Evaluation:
    """A file of `experiments/crossval/`, wholly checked."""

    name: str
    title: str
    settings: Settings
    data: DataConfig
    models: dict[str, Model] = field(default_factory=dict)


def read_evaluation(name: str, root: Path | None = None) -> Evaluation:
    """Read and check an evaluation.

    Args:
        name: Of a file in `experiments/crossval/`, or the path of a YAML file.
        root: See `ugmm.config.compose.compose`.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    path = named_file(name, "experiments/crossval", "evaluation", root)
    layer = read_yaml(path)
    entries = layer.pop("models", None)
    settings = filled(Settings, layer, str(path))
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise UserError(f"{path}: seeds must be different numbers, at least one")
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path}: models must map names to baselines and experiments")
    data = compose_data(settings.data, root)
    evaluation = Evaluation(path.stem, title_of(path) or path.stem, settings, data)
    for row, entry in entries.items():
        model = _model(entry, f"{path}: models.{row}", settings.data, root)
        evaluation.models[str(row)] = model
    return evaluation


def _model(entry: Any, source: str, data: str, root: Path | None) -> Model:
    if not isinstance(entry, dict):
        raise UserError(f"{source} must be such as {{baseline: qda, grid: {{reg: [0.0, 0.1]}}}}")
    known = ("baseline", "experiment", "set", "grid")
    for name in entry:
        if name not in known:
            raise UserError(f"{source}: unknown key '{name}'; {nearest(name, known)}")
    kinds = [kind for kind in known[:2] if kind in entry]
    if len(kinds) != 1:
        raise UserError(f"{source} must name either a baseline or an experiment")
    fixed, grid = (entry.get(name) or {} for name in ("set", "grid"))
    if not isinstance(fixed, dict) or not isinstance(grid, dict):
        raise UserError(f"{source}: set and grid hold keys with their values")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{source}: grid.{name} must be a list of values to choose from")
        if name in fixed:
            raise UserError(f"{source}: {name} is both in set and in grid")
    what = str(entry[kinds[0]])
    candidates = []
    for combination in product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        if kinds[0] == "baseline":
            estimator = _baseline(what, fixed | values, source)
        else:
            estimator = _experiment(what, {"data": data, **fixed, **values}, source, root)
        candidates.append((values, estimator))
    return Model(f"{kinds[0]} {what}", fixed, grid, candidates)


def _baseline(name: str, settings: dict[str, Any], source: str) -> Estimator:
    if name not in BASELINES:
        raise UserError(f"{source}: unknown baseline {name!r}; {nearest(name, BASELINES)}")
    baseline = filled(BASELINES[name], settings, source)
    baseline.check()
    return baseline


def _experiment(name: str, settings: dict[str, Any], source: str, root: Path | None) -> Estimator:
    try:
        config = compose(name, [assignment(k, v) for k, v in settings.items()], root)
    except UserError as error:
        raise UserError(f"{source}: {str(error).removeprefix('command line: ')}") from error
    config.trainer.threads = 1
    return Experiment(config)
