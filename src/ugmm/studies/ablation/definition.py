"""An ablation's file: its variants, their repetitions, and the points they make.

Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ugmm.config.canonical import compute_identity
from ugmm.config.compose import assignment
from ugmm.config.files import named_file, title_of
from ugmm.config.frozen import to_mapping
from ugmm.config.merge import make_settings, read_yaml
from ugmm.config.values import as_text, literal
from ugmm.errors import UserError, nearest
from ugmm.keys import key
from ugmm.metrics import find_metric
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import ID_DIGITS, Point
from ugmm.studies.ablation.space import Space, read_space
from ugmm.studies.grid import compose_settings, expand_grid
from ugmm.yaml_text import Plain, to_values

__all__ = ["Ablation", "AblationSettings", "name_repetition", "read_ablation"]

_MAPPINGS = ("set", "variants", "grid")
_NAMES = ("group", "name", "variant")  # keys that tell the runs of a study apart


@dataclass
class AblationSettings:
    """The keys of an ablation's file, less `set`, `variants`, `grid` and `space`."""

    experiment: str = key()
    seeds: list[int] = key([0, 1, 2], low=0, high=2**31 - 1)
    folds: list[int] = key([], low=0, high=10**6)  # of a data set that has them
    metric: str = "test/accuracy"
    goal: Literal["max", "min"] | None = None  # needed only for a metric of one's own
    baseline: str = ""  # the variant that others are compared with; by default, the first
    report: list[str] = key([])  # further metrics to tabulate
    search: Literal["optuna"] | None = None  # of a `space`, in place of variants and a grid
    trials: int = key(20, low=1, high=10**6)  # of a search, in all


@dataclass(frozen=True)
class Ablation:
    """A file of `experiments/ablations/`; its points are composed when they are asked for.

    Attributes:
        path: The file; its name is that of the group of the runs.
        title: Its first line.
        root: See `ugmm.config.compose.compose`.
        settings: Its plain keys.
        variants: By name, all that a variant sets, as the file says it (see
            `ugmm.yaml_text.read`); `experiment` is one that it starts from of its own. A search
            has none.
        repetitions: Seeds and folds, as settings.
        common: What all variants set, and all trials of a search.
        space: What is searched.
    """

    path: Path
    title: str
    root: Path | None
    settings: AblationSettings
    variants: Mapping[str, Mapping[str, Any]]
    repetitions: list[dict[str, int]]
    common: Mapping[str, Any]
    space: Space

    @property
    def name(self) -> str:
        """The name of the file, and of the group of the runs."""
        return self.path.stem

    @property
    def goal(self) -> Literal["max", "min"]:
        """Which way the metric is better.

        Raises:
            UserError: If that is neither known nor given.
        """
        metric = self.settings.metric
        goal = self.settings.goal or find_metric(metric).goal
        if goal is None:
            raise UserError(
                f"{self.path}: say which way {metric} is better: goal: max, or goal: min"
            )
        return goal

    def compose_point(
        self, variant: str, settings: Mapping[str, Any], repetition: Mapping[str, int]
    ) -> Point:
        """Compose one run.

        Args:
            variant: Its name.
            settings: All that it sets.
            repetition: Its seed, and its fold where there are folds.

        Raises:
            UserError: If the settings are wrong.
        """
        source = f"{self.path}: variant {variant!r}"
        _check_free(settings, repetition, source)
        repeated = name_repetition(repetition)
        names = literal({"group": self.name, "name": f"{variant} {repeated}", "variant": variant})
        values = {"experiment": self.settings.experiment, **settings, **repetition, **names}
        experiment = values.pop("experiment")
        if to_values(experiment) is None or not isinstance(experiment, Plain | str):
            raise UserError(
                f"{source}: experiment must be a name, such as {self.settings.experiment}; got "
                f"{to_values(experiment)!r}"
            )
        composed = compose_settings(as_text(experiment), values, source, self.root)
        config = to_mapping(composed)
        return Point(compute_identity(config)[:ID_DIGITS], variant, repeated, config)

    @cached_property
    def points(self) -> list[Point]:
        """All runs, composed, in the order of the file.

        Raises:
            UserError: If settings are wrong, or two variants are the same.
        """
        points: dict[str, Point] = {}
        for (variant, settings), repetition in product(self.variants.items(), self.repetitions):
            point = self.compose_point(variant, settings, repetition)
            if (same := points.get(point.identity)) is not None:
                raise UserError(
                    f"{self.path}: variants {same.variant!r} and {variant!r} are the same for "
                    f"{point.repetition}"
                )
            points[point.identity] = point
        return list(points.values())

    def compose_first(self) -> Point:
        """Compose one run, which tells where all of them lie."""
        variant, settings = next(iter(self.variants.items()), ("search", self.common))
        return self.compose_point(variant, settings, self.repetitions[0])

    def open_ledger(self) -> Ledger:
        """Return the ledger beside the runs; makes no folder."""
        return Ledger(self.compose_first().run.folder.parent / "ablation")


def read_ablation(name: str, root: Path | None = None) -> Ablation:
    """Read and check an ablation's file; what its variants set is checked as they are composed.

    Args:
        name: Of a file in `experiments/ablations/`, or the path of a YAML file.
        root: See `ugmm.config.compose.compose`.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    path = named_file(name, "experiments/ablations", root)
    values = read_yaml(path)
    common, variants, grid = (_pop_mapping(values, part, path) for part in _MAPPINGS)
    space = to_values(values.pop("space", None))
    settings: AblationSettings = make_settings(AblationSettings, values, str(path))
    title, repetitions = title_of(path) or path.stem, _list_repetitions(settings, path)
    if settings.search is not None:
        _check_search(settings, path, alone=not (variants or grid))
        searched = read_space(space, str(path))
        found = Ablation(path, title, root, settings, {}, repetitions, common, searched)
        _check_space(found)
        return found
    if space is not None:
        raise UserError(f"{path}: a space is searched: add 'search: optuna'")
    combined = _combine(common, variants, grid, str(path))
    if (baseline := settings.baseline) and baseline not in combined:
        raise UserError(
            f"{path}: no variant is called {baseline!r}, the baseline; "
            f"{nearest(baseline, combined)}"
        )
    return Ablation(path, title, root, settings, combined, repetitions, common, {})


def _pop_mapping(values: dict[str, Any], part: str, path: Path) -> dict[str, Any]:
    entries = values.pop(part, None)
    if to_values(entries) is None:
        return {}
    if not isinstance(entries, dict):
        raise UserError(f"{path}: {part} must map names to values")
    return entries


def name_repetition(repetition: Mapping[str, int]) -> str:
    """Return what a repetition is called: `seed=0 fold=1`."""
    return " ".join(f"{k.rpartition('.')[2]}={v}" for k, v in repetition.items())


def _combine(
    common: Mapping[str, Any], variants: Mapping[str, Any], grid: Mapping[str, Any], source: str
) -> dict[str, dict[str, Any]]:
    """Return each variant with each combination of the grid, by name: all that it sets."""
    if not variants and not grid:
        raise UserError(f"{source}: give variants (named sets of settings), a grid, or both")
    combinations = expand_grid(grid, source)
    combined: dict[str, dict[str, Any]] = {}
    for name, entry in variants.items() if variants else [(None, {})]:
        settings = {} if to_values(entry) is None else entry
        if not isinstance(settings, dict):
            raise UserError(
                f"{source}: variants.{name} must map keys to values, such as "
                "{model.dropout: 0.2}"
            )
        for combination in combinations:
            parts = [] if name is None else [name]
            parts += [assignment(k, v) for k, v in combination.items()]
            whole = " ".join(parts)
            if not whole.strip() or whole in combined:
                called = f"two variants are called {whole!r}" if whole else "a variant has no name"
                raise UserError(f"{source}: {called}; give each a name of its own")
            combined[whole] = {**common, **settings, **combination}
    return combined


def _list_repetitions(settings: AblationSettings, path: Path) -> list[dict[str, int]]:
    for name, values in (("seeds", settings.seeds), ("folds", settings.folds)):
        if len(set(values)) < len(values) or (name == "seeds" and not values):
            raise UserError(f"{path}: {name} must be different numbers, at least one")
    folds = [{"data.fold": fold} for fold in settings.folds] or [{}]
    return [{"seed": seed, **fold} for seed in settings.seeds for fold in folds]


def _check_search(settings: AblationSettings, path: Path, *, alone: bool) -> None:
    if not alone or settings.baseline:
        raise UserError(f"{path}: a search has a space, and no variants, grid or baseline")
    if not settings.metric.startswith("val/"):
        raise UserError(
            f"{path}: metric={settings.metric}: what the test rows chose, they cannot judge; "
            "choose by validation, such as val/nll"
        )


def _check_free(settings: Mapping[str, Any], repetition: Mapping[str, int], source: str) -> None:
    """Refuse settings of what the study sets by itself, since they would come to nothing."""
    for name in settings:
        if name in repetition:
            part = f"{name.rpartition('.')[2]}s"
            raise UserError(f"{source} sets {name}; give {part} beside variants and grid instead")
        if name in _NAMES:
            raise UserError(f"{source} sets {name}, which the study sets itself; leave it out")


def _check_space(ablation: Ablation) -> None:
    """Compose every bound of the space, so that no trial can fail for its settings alone."""
    firsts = {name: entry.list_bounds()[0] for name, entry in ablation.space.items()}
    for name, entry in ablation.space.items():
        for value in entry.list_bounds():
            settings = {**ablation.common, **firsts, name: value}
            variant = f"{ablation.name} with {assignment(name, value)}"
            ablation.compose_point(variant, settings, ablation.repetitions[0])
