"""An ablation: its variants or what it searches, their repetitions, and the points they make.

Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ugmm.config.canonical import compute_identity
from ugmm.config.frozen import to_mapping
from ugmm.config.values import as_text, literal
from ugmm.errors import UserError
from ugmm.keys import key
from ugmm.metrics import find_metric
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import ID_DIGITS, Point
from ugmm.studies.ablation.searching.space import Space
from ugmm.studies.grid import compose_settings
from ugmm.yaml_text import Plain, to_values

__all__ = ["Ablation", "AblationSettings", "Family", "list_repetitions", "name_repetition"]

_NAMES = ("group", "name", "variant")  # keys that tell the runs of a study apart


@dataclass
class AblationSettings:
    """The keys of an ablation's file, less `set`, `variants`, `grid`, `space` and `families`."""

    experiment: str = key()
    seeds: list[int] = key([0, 1, 2], low=0, high=2**31 - 1)
    folds: list[int] = key([], low=0, high=10**6)  # of a data set that has them
    metric: str = "test/accuracy"
    goal: Literal["max", "min"] | None = None  # needed only for a metric of one's own
    baseline: str = ""  # the variant that others are compared with; by default, the first
    report: list[str] = key([])  # further metrics to tabulate
    # a key of the summaries, such as parameters: how the metric falls as that grows
    along: str = ""
    # of a `space`, or of the `families`, in place of variants and a grid
    search: Literal["optuna"] | None = None
    trials: int | None = key(None, low=1, high=10**6)  # of a search, in all; null: 20
    seconds: float | None = key(None, above=0, high=10**9)  # of training, in place of `trials`
    # of a search's trials: first all have so many, then the best of them the next number
    epochs: list[int] = key([], low=1, high=10**6)
    choose: str = ""  # the metric of the validation that families are tuned by
    search_seed: int = key(0, low=0, high=2**31 - 1)  # that families are tuned with

    @property
    def most_trials(self) -> int:
        """How many trials a search without a budget of seconds has."""
        return 20 if self.trials is None else self.trials


@dataclass(frozen=True)
class Family:
    """Models that are tuned together.

    Attributes:
        common: What all of them set, `experiment` included.
        space: What they differ in.
        epochs: The rungs of their search.
    """

    common: Mapping[str, Any]
    space: Space
    epochs: list[int]


@dataclass(frozen=True)
class Ablation:
    """A file of `experiments/ablations/`; its points are composed when they are asked for.

    Attributes:
        path: The file.
        title: Its first line.
        root: See `ugmm.config.compose.compose`.
        settings: Its plain keys.
        variants: By name, all that a variant sets, as the file says it (see
            `ugmm.yaml_text.read`); `experiment` is one that it starts from of its own. A search
            has none.
        repetitions: Seeds and folds, as settings.
        common: What all variants set, and all trials of a search.
        space: What is searched.
        families: What is tuned before it is compared, by name; they become variants, see
            `ugmm.studies.ablation.searching.search.settle`.
        name: Of the group of the runs.
    """

    path: Path
    title: str
    root: Path | None
    settings: AblationSettings
    variants: Mapping[str, Mapping[str, Any]]
    repetitions: list[dict[str, int]]
    common: Mapping[str, Any]
    space: Space = field(default_factory=dict)
    families: Mapping[str, Family] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        """Name the group after the file."""
        if not self.name:
            object.__setattr__(self, "name", self.path.stem)

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

    @cached_property
    def searches(self) -> dict[str, "Ablation"]:
        """The search of each family: an ablation with runs of its own."""
        settings, seed = self.settings, self.settings.search_seed
        tuning = replace(settings, metric=settings.choose, goal=None, seeds=[seed], report=[])
        return {
            name: replace(
                self,
                title=f"{self.title}: {name}",
                settings=replace(tuning, epochs=family.epochs),
                repetitions=list_repetitions(tuning),
                common=family.common,
                space=family.space,
                families={},
                name=f"{self.name}-{name}",
            )
            for name, family in self.families.items()
        }

    def compose_first(self) -> Point:
        """Compose one run, which tells where all of them lie."""
        variant, settings = next(iter(self.variants.items()), ("search", self.common))
        return self.compose_point(variant, settings, self.repetitions[0])

    def open_ledger(self) -> Ledger:
        """Return the ledger beside the runs; makes no folder."""
        return Ledger(self.compose_first().run.folder.parent / "ablation")


def list_repetitions(settings: AblationSettings) -> list[dict[str, int]]:
    """Return seeds and folds, as settings."""
    folds = [{"data.fold": fold} for fold in settings.folds] or [{}]
    return [{"seed": seed, **fold} for seed in settings.seeds for fold in folds]


def name_repetition(repetition: Mapping[str, int]) -> str:
    """Return what a repetition is called: `seed=0 fold=1`."""
    return " ".join(f"{k.rpartition('.')[2]}={v}" for k, v in repetition.items())


def _check_free(settings: Mapping[str, Any], repetition: Mapping[str, int], source: str) -> None:
    """Refuse settings of what the study sets by itself, since they would come to nothing."""
    for name in settings:
        if name in repetition:
            part = f"{name.rpartition('.')[2]}s"
            raise UserError(f"{source} sets {name}; give {part} beside variants and grid instead")
        if name in _NAMES:
            raise UserError(f"{source} sets {name}, which the study sets itself; leave it out")
