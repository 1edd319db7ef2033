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
from ugmm.studies.crossval.fits import Candidate, NetworkEstimator, Place
from ugmm.studies.crossval.tables import IMPUTERS
from ugmm.studies.grid import compose_settings, expand_grid
from ugmm.yaml_text import Plain, to_values

__all__ = ["CrossValidation", "CrossValidationSettings", "Model", "read_crossvalidation"]


@dataclass
class CrossValidationSettings:
    """The keys of a cross-validation's file, less its models."""

    data: list[str] = key()
    missing: list[float] = key([0.0], low=0, below=1)  # shares of cells to hide, one after another
    rows: int | None = key(None, low=100, high=10**9)  # the most of a table; null: all
    # least width of the noise that makes values continuous, in deviations of their column
    dequantize: float | None = key(None, above=0, high=1)
    folds: int = key(5, low=2, high=10**6)
    inner_folds: int = key(3, low=2, high=10**6)
    # how many of a seed's folds are tested on, and of its inner folds; null: all
    tested: int | None = key(None, low=1, high=10**6)
    inner_tested: int | None = key(None, low=1, high=10**6)
    seeds: list[int] = key([0, 1, 2, 3, 4], low=0, high=2**31 - 1)
    select: Literal["log_prob", "nll", "accuracy"] = "log_prob"

    @property
    def several(self) -> bool:
        """Whether there are several tables, or cells are hidden."""
        return len(self.data) > 1 or self.missing != [0.0]

    @property
    def n_tested(self) -> int:
        """How many folds of a seed are tested on."""
        return min(self.tested or self.folds, self.folds)

    @property
    def n_inner_tested(self) -> int:
        """How many inner folds a setting is tried on."""
        return min(self.inner_tested or self.inner_folds, self.inner_folds)

    def places(self) -> list[Place]:
        """Return all outer folds, seed by seed: what is cut short has some of all tables."""
        return [
            Place(self.folds, self.inner_folds, seed, fold, data=data, missing=missing)
            for seed in self.seeds
            for data in self.data
            for missing in self.missing
            for fold in range(self.n_tested)
        ]


@dataclass(frozen=True)
class Model:
    """One of the models compared.

    Attributes:
        what: `baseline qda`, `experiment iris_gen`.
        fixed: Settings that all candidates share.
        grid: Values to choose from where no value is missing; None if it is left out there.
        gaps: Values to choose from where some are, `impute` among them for a model that needs
            whole rows; None if it is left out there.
        candidates: The estimators of the grid.
        with_gaps: Those of `gaps`.
    """

    what: str
    fixed: dict[str, Any]
    grid: dict[str, list[Any]] | None
    gaps: dict[str, list[Any]] | None
    candidates: list[Candidate]
    with_gaps: list[Candidate]


@dataclass(frozen=True)
class CrossValidation:
    """A file of `experiments/crossval/`, wholly checked.

    Attributes:
        name: Of the file.
        title: Its first line.
        settings: Its plain keys.
        data: The data sets, by name.
        models: What is compared, by name.
    """

    name: str
    title: str
    settings: CrossValidationSettings
    data: Mapping[str, DataConfig]
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
    if isinstance(values.get("data"), Plain | str):
        values["data"] = [values["data"]]
    settings: CrossValidationSettings = make_settings(CrossValidationSettings, values, str(path))
    for several in ("data", "missing", "seeds"):
        if not (given := getattr(settings, several)) or len(set(given)) < len(given):
            kind = "names" if several == "data" else "numbers"
            raise UserError(f"{path}: {several} must be different {kind}, at least one")
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path}: models must map names to baselines and experiments")
    data = {chosen: _read_data(chosen, path, root) for chosen in settings.data}
    models = {
        model: _read_model(entry, f"{path}: models.{model}", settings.data[0], root)
        for model, entry in entries.items()
    }
    return CrossValidation(path.stem, title_of(path) or path.stem, settings, data, models)


def _read_data(name: str, path: Path, root: Path | None) -> DataConfig:
    data = compose_data(name, str(path), root)
    if data.has_target:
        raise UserError(
            f"{path}: data={name} has a number to predict, and cross-validations compare "
            "models of classes; compare regressions as an ablation over folds"
        )
    if hasattr(data, "missing"):
        data.missing = "keep"  # what is done about gaps is said of each model
    return data


def _read_model(entry: Any, source: str, data: str, root: Path | None) -> Model:
    if not isinstance(entry, dict):
        raise UserError(f"{source} must be such as {{baseline: qda, grid: {{reg: [0.0, 0.1]}}}}")
    known = ("baseline", "experiment", "set", "grid", "gaps")
    for name in entry:
        if name not in known:
            raise UserError(f"{source}: unknown key '{name}'; {nearest(name, known)}")
    kinds = [kind for kind in known[:2] if kind in entry]
    if len(kinds) != 1:
        raise UserError(f"{source} must name either a baseline or an experiment")
    # Without a grid there is one candidate; or none, if the model is for gaps alone.
    entry = {"set": {}, **({} if "gaps" in entry else {"grid": {}}), **entry}
    fixed, grid, gaps = (
        {} if name in entry and to_values(entry[name]) is None else entry.get(name)
        for name in ("set", "grid", "gaps")
    )
    for part in (fixed, grid, gaps):
        if not isinstance(part, dict | None):
            raise UserError(f"{source}: set, grid and gaps must map keys to values")
        for name in part or {}:
            if part is not fixed and name in fixed:
                raise UserError(f"{source}: {name} is both in set and in grid or gaps")
    what = as_text(entry[kinds[0]])
    maker = _Maker(kinds[0], what, fixed, data, source, root)
    return Model(
        f"{kinds[0]} {what}",
        to_values(fixed),
        None if grid is None else to_values(grid),
        None if gaps is None else to_values(gaps),
        [] if grid is None else [maker.make(v) for v in expand_grid(grid, source)],
        [] if gaps is None else [maker.make_for_gaps(v) for v in expand_grid(gaps, source)],
    )


@dataclass(frozen=True)
class _Maker:
    """Makes the candidates of a model."""

    kind: str
    what: str
    fixed: dict[str, Any]
    data: str
    source: str
    root: Path | None

    def make(self, values: dict[str, Any], impute: Any = None) -> Candidate:
        """Return a candidate for whole rows, of values of the grid."""
        settings = {**self.fixed, **values}
        if self.kind == "baseline":
            estimator = _make_baseline(self.what, settings, self.source)
        else:
            settings = {"data": self.data, **settings}
            estimator = _make_network(self.what, settings, self.source, self.root)
        return Candidate(to_values(values), estimator, impute)

    def make_for_gaps(self, values: dict[str, Any]) -> Candidate:
        """Return a candidate for rows with gaps: they are filled, or left to the model."""
        if "impute" in values:
            how = as_text(values["impute"])
            if how not in IMPUTERS:
                raise UserError(
                    f"{self.source}: gaps.impute has {how!r}; {nearest(how, IMPUTERS)}"
                )
            others = {name: value for name, value in values.items() if name != "impute"}
            return self.make(others, how)._replace(values=to_values(values))
        if self.kind == "experiment":
            kept = {"data": "csv", "data.missing": "keep", "data.label": "label"}
            settings = {**kept, **self.fixed, **values}
            return Candidate(
                to_values(values), _make_network(self.what, settings, self.source, self.root)
            )
        made = self.make(values)
        if not BASELINES[self.what].takes_missing:
            raise UserError(
                f"{self.source}: baseline {self.what} needs a value in every cell; add impute: "
                f"[{', '.join(IMPUTERS)}] to gaps"
            )
        return made


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
