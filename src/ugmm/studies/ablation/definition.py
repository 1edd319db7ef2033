"""An ablation's file, and its plan: the points to run, frozen. Imports no torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock

from ugmm.config.compose import (
    assignment,
    compose,
    filled,
    from_yaml,
    read_yaml,
    to_yaml,
)
from ugmm.config.files import named_file, title_of
from ugmm.config.schema import Config
from ugmm.errors import UserError
from ugmm.keys import key
from ugmm.metrics import find
from ugmm.runs import Run, run_folder, write_atomic
from ugmm.studies.ablation.search import Space, check_space, read_space

__all__ = ["Ablation", "Plan", "Point", "read_ablation"]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Where and under which name a point runs does not change what it computes.
_ELSEWHERE = ("experiment", "group", "name", "variant", "runs_dir", "tracking")
_HARDWARE = ("accelerator", "devices", "num_nodes", "strategy", "threads")


@dataclass
class Settings:
    """The keys of an ablation's file, less `set`, `variants` and `grid`."""

    experiment: str = key()
    seeds: list[int] = key([0, 1, 2], low=0)
    folds: list[int] = key([], low=0)  # of a data set that has them
    metric: str = "test/accuracy"
    goal: Literal["max", "min"] | None = None  # needed only for a metric of one's own
    baseline: str = ""  # the variant that others are compared with; by default, the first
    report: list[str] = key([])  # further figures to tabulate
    search: Literal["optuna"] | None = None  # of a `space`, in place of variants and a grid
    trials: int = key(20, low=1)  # of a search, in all


@dataclass(frozen=True)
class Point:
    """One run of an ablation.

    Attributes:
        id: From its configuration: the same wherever and whenever it is planned.
        variant: Which variant it is a repetition of.
        repetition: `seed=0 fold=1`.
        config: Its resolved configuration, as YAML.
    """

    id: str
    variant: str
    repetition: str
    config: str

    def resolved(self) -> Config:
        """Its configuration."""
        return from_yaml(self.config, f"point {self.id}")

    @cached_property
    def plain(self) -> dict[str, Any]:
        """Its configuration, unchecked: `resolved` takes seconds for some hundred points."""
        return yaml.load(self.config, _Loader)

    @cached_property
    def run(self) -> Run:
        """Its run folder, which may not exist yet."""
        group, name = str(self.plain["group"]), str(self.plain["name"])
        return Run(run_folder(self.plain["runs_dir"], group, name, self.id))

    def agrees(self, values: Mapping[str, Any]) -> bool:
        """Whether it computes what these settings say, as far as they say it."""
        return all(_agrees(self.plain, name, value) for name, value in values.items())


@dataclass
class Ablation:
    """A file of `experiments/ablations/`; its points are composed when they are asked for.

    Attributes:
        path: The file; its name is that of the group of the runs.
        title: Its first line.
        root: See `ugmm.config.compose.compose`.
        settings: Its plain keys.
        rows: By variant, its settings; `experiment` is one that it starts from of its own. A
            search has none, and adds one a trial.
        repetitions: Seeds and folds, as settings.
        common: What all variants set.
        space: What is searched.
    """

    path: Path
    title: str
    root: Path | None
    settings: Settings
    rows: dict[str, dict[str, Any]]
    repetitions: list[dict[str, int]]
    common: dict[str, Any]
    space: Space

    @property
    def goal(self) -> Literal["max", "min"]:
        """Which way the metric is better.

        Raises:
            UserError: If that is neither known nor given.
        """
        metric = self.settings.metric
        goal = self.settings.goal or find(metric).goal
        if goal is None:
            raise UserError(f"{self.path}: say which way {metric} is better: goal: max, or min")
        return goal

    @property
    def name(self) -> str:
        """The name of the file, and of the group of the runs."""
        return self.path.stem

    def point(self, variant: str, repetition: Mapping[str, int]) -> Point:
        """Compose a run.

        Raises:
            UserError: If its settings are wrong.
        """
        said = said_of(repetition)
        row = self.rows.get(variant, self.common)
        values = {"experiment": self.settings.experiment, **row, **repetition}
        experiment = values.pop("experiment")
        if not isinstance(experiment, str):
            raise UserError(
                f"{self.path}: variant {variant!r}: experiment must be a name, such as "
                f"{self.settings.experiment}; got {experiment!r}"
            )
        named = {"group": self.name, "name": f"{variant} {said}", "variant": variant}
        overrides = [assignment(k, v) for k, v in {**values, **named}.items()]
        try:
            config = compose(experiment, overrides, self.root)
        except UserError as error:
            text = str(error).removeprefix("command line: ")
            raise UserError(f"{self.path}: variant {variant!r}: {text}") from error
        return Point(_identity(config), variant, said, to_yaml(config))

    @cached_property
    def points(self) -> list[Point]:
        """All runs, composed, in the order of the file.

        Raises:
            UserError: If settings are wrong, or two variants are the same.
        """
        points: dict[str, Point] = {}
        for variant, repetition in product(self.rows, self.repetitions):
            point = self.point(variant, repetition)
            if (same := points.get(point.id)) is not None:
                raise UserError(
                    f"{self.path}: variants {same.variant!r} and {variant!r} are the same for "
                    f"{point.repetition}"
                )
            points[point.id] = point
        return list(points.values())

    def plan(self) -> "Plan":
        """The plan beside the runs."""
        first = self.point(next(iter(self.rows), "search"), self.repetitions[0])
        return Plan(first.run.folder.parent / "ablation")


def read_ablation(name: str, root: Path | None = None) -> Ablation:
    """Read and check an ablation's file; what its variants set is checked as they are composed.

    Args:
        name: Of a file in `experiments/ablations/`, or the path of a YAML file.
        root: See `ugmm.config.compose.compose`.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    path = named_file(name, "experiments/ablations", "ablation", root)
    layer = read_yaml(path)
    common, variants, grid = (layer.pop(part, None) or {} for part in ("set", "variants", "grid"))
    space = layer.pop("space", None)
    settings: Settings = filled(Settings, layer, str(path))
    for part, entries in (("set", common), ("variants", variants), ("grid", grid)):
        if not isinstance(entries, dict):
            raise UserError(f"{path}: {part} must map names to values")
    title, repetitions = title_of(path) or path.stem, _repetitions(settings, str(path))
    if settings.search is not None:
        if variants or grid or settings.baseline:
            raise UserError(f"{path}: a search has a space, and no variants, grid or baseline")
        if not settings.metric.startswith("val/"):
            raise UserError(
                f"{path}: metric {settings.metric}: what is chosen by the test rows cannot be "
                "judged by them; search by val/..."
            )
        found = Ablation(
            path, title, root, settings, {}, repetitions, common, read_space(space, str(path))
        )
        check_space(found, path)
        return found
    if space is not None:
        raise UserError(f"{path}: a space is searched: add 'search: optuna'")
    rows = _rows(variants, grid, str(path))
    if settings.baseline and settings.baseline not in rows:
        raise UserError(f"{path}: baseline {settings.baseline!r} is none of {', '.join(rows)}")
    settings.baseline = settings.baseline or next(iter(rows))
    rows = {variant: common | values for variant, values in rows.items()}
    return Ablation(path, title, root, settings, rows, repetitions, common, {})


def _rows(
    variants: Mapping[str, Any], grid: Mapping[str, Any], source: str
) -> dict[str, dict[str, Any]]:
    """Each variant with each combination of the grid, by name."""
    if not variants and not grid:
        raise UserError(f"{source}: give variants (named sets of settings), a grid, or both")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{source}: grid.{name} must be a list of values")
    rows = {}
    for name, values in (variants or {"": {}}).items():
        if not isinstance(values or {}, dict):
            raise UserError(f"{source}: variants.{name} must be settings, such as {{seed: 1}}")
        for combination in product(*grid.values()):
            chosen = dict(zip(grid, combination, strict=True))
            parts = [str(name)] * bool(name) + [assignment(k, v) for k, v in chosen.items()]
            rows[" ".join(parts)] = {**(values or {}), **chosen}
    return rows


def _repetitions(settings: Settings, source: str) -> list[dict[str, int]]:
    for name, values in (("seeds", settings.seeds), ("folds", settings.folds)):
        if len(set(values)) < len(values) or (name == "seeds" and not values):
            raise UserError(f"{source}: {name} must be different numbers")
    folds = [{"data.fold": fold} for fold in settings.folds] or [{}]
    return [{"seed": seed, **fold} for seed in settings.seeds for fold in folds]


def said_of(repetition: Mapping[str, int]) -> str:
    """Return a repetition as it is named: `seed=0 fold=1`."""
    return " ".join(f"{k.rpartition('.')[2]}={v}" for k, v in repetition.items())


def _agrees(config: dict[str, Any], name: str, value: Any) -> bool:
    group, _, last = name.rpartition(".")
    elsewhere = name.partition(".")[0] in _ELSEWHERE or (group == "trainer" and last in _HARDWARE)
    found: Any = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    a_choice = isinstance(found, dict) and not isinstance(value, dict)  # stands for many settings
    refers = "${" in str(value)
    return elsewhere or a_choice or refers or found == value or str(found) == str(value)


def _identity(config: Config) -> str:
    """Eight digits of what the configuration computes."""
    what = {k: v for k, v in asdict(config).items() if k not in _ELSEWHERE}
    what["trainer"] = {k: v for k, v in what["trainer"].items() if k not in _HARDWARE}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


class Plan:
    """What has been planned of an ablation, kept in its folder: editing the YAML changes nothing.

    Arguments:
        folder: `<runs_dir>/<ablation>/ablation`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "plan.json"

    def points(self) -> list[Point]:
        """All points planned so far.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.path.is_file():
            return []
        try:
            return [Point(**point) for point in json.loads(self.path.read_text("utf-8"))["points"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} is damaged ({error}); remove it to plan anew") from error

    def extend(self, ablation: Ablation) -> tuple[list[Point], list[Point]]:
        """Plan those points of an ablation that are not planned yet.

        Returns:
            the points added, and those planned before that the ablation no longer has.
        """
        with self.lock():
            before, wanted = self.points(), {p.id for p in ablation.points}
            return self.add(ablation.points), [p for p in before if p.id not in wanted]

    def lock(self) -> FileLock:
        """What whoever changes the plan must hold."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".plan.lock", is_singleton=True)

    def add(self, points: list[Point]) -> list[Point]:
        """Plan those points that are not planned yet, and return them. Needs the lock."""
        before = self.points()
        known = {point.id for point in before}
        added = [point for point in points if point.id not in known]
        if added:
            content = {"points": [asdict(point) for point in [*before, *added]]}
            write_atomic(self.path, json.dumps(content, indent=1) + "\n")
        return added
