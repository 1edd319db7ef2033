"""Optuna's side of an ablation that searches: what to try next, knowing what became of the rest.

A trial is one choice of values, run with every seed; its points are planned like any other's.
Imports no torch, and Optuna only where something is searched.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ugmm.config.compose import assignment
from ugmm.errors import UserError

if TYPE_CHECKING:
    import optuna

    from ugmm.studies.ablation.definition import Ablation, Plan, Point

__all__ = ["Search", "Space", "check_space", "read_space"]

_DIGITS = 4  # that are significant in a number tried: what is named is what is run


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole if both are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        text = f"{self.low:g} to {self.high:g}"
        text += f" in steps of {self.step:g}" if self.step is not None else ""
        return text + " (logarithmically)" * self.log

    def ends(self) -> list[Any]:
        """Values that must be valid if all are to be."""
        return [self.low, self.high]

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """Have a trial choose."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = int(self.step) if self.step is not None else 1
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=step)
        chosen = trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)
        return min(max(float(f"{chosen:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """One of a list of values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))

    def ends(self) -> list[Any]:
        """All of them."""
        return list(self.values)

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """Have a trial choose; as JSON, for Optuna knows no lists."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(v) for v in self.values]))


Space = dict[str, Range | Choice]


def read_space(space: Any, source: str) -> Space:
    """Check an ablation's `space`.

    Raises:
        UserError: If an entry is neither a list nor a range, or the range is none.
    """
    if not isinstance(space, dict) or not space:
        raise UserError(f"{source}: search needs a space, such as {{model.dropout: [0.0, 0.3]}}")
    return {str(name): _entry(entry, f"{source}: space.{name}") for name, entry in space.items()}


def _entry(entry: Any, source: str) -> Range | Choice:
    if isinstance(entry, list) and entry:
        return Choice(tuple(entry))
    known = {"low", "high", "log", "step"}
    if not isinstance(entry, dict) or not {"low", "high"} <= set(entry) <= known:
        raise UserError(f"{source} must be a list of values, or {{low: ..., high: ...}}")
    numbers = [v for k, v in entry.items() if k != "log" and v is not None]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers):
        raise UserError(f"{source}: low, high and step must be numbers")
    found = Range(**entry)
    if found.low >= found.high:
        raise UserError(f"{source}: low must be below high")
    if found.log and (found.low <= 0 or found.step is not None):
        raise UserError(f"{source}: log needs low above 0, and no step")
    if found.step is not None and found.step <= 0:
        raise UserError(f"{source}: step must be above 0")
    return found


class Search:
    """The study of an ablation, in a journal that processes and machines share.

    Arguments:
        ablation: Which searches.
        plan: Where its points are planned.

    Raises:
        UserError: If Optuna is not installed.
    """

    def __init__(self, ablation: "Ablation", plan: "Plan") -> None:
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError as error:
            raise UserError(
                "search: optuna needs Optuna; install it with: pip install 'optuna>=4.5,<6'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.ablation, self.plan, self._optuna = ablation, plan, optuna
        plan.folder.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(plan.folder / "optuna.log")))
        self.study = optuna.create_study(
            storage=storage,
            study_name=ablation.name,
            direction="maximize" if ablation.goal == "max" else "minimize",
            load_if_exists=True,
        )

    def left(self) -> int:
        """How many trials have not been asked for yet."""
        return max(0, self.ablation.settings.trials - self._planned())

    def _planned(self) -> int:
        trials = self.study.get_trials(deepcopy=False)
        return sum("points" in trial.user_attrs for trial in trials)

    def ask(self) -> bool:
        """Plan the points of one more trial; return whether there was one left."""
        with self.plan.lock():
            self._drop_orphans()
            if not self.left():
                return False
            # A seed for each trial: a study that is taken up again goes on as it would have.
            seed = 1000 * self.ablation.settings.seeds[0] + self._planned()
            self.study.sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            trial = self.study.ask()
            try:
                values = {k: of.suggest(trial, k) for k, of in self.ablation.space.items()}
            except ValueError as error:
                raise UserError(
                    f"{self.ablation.path}: a space cannot be changed while it is searched "
                    f"({error}); give the file another name, or remove {self.plan.folder.parent}"
                ) from error
            points = self._points(values)
            trial.set_user_attr("values", values)
            self.plan.add(points)
            trial.set_user_attr("points", [point.id for point in points])  # now it counts
        return True

    def _drop_orphans(self) -> None:
        """Give up trials of processes that were killed as they asked; needs the lock."""
        open_states = (self._optuna.trial.TrialState.RUNNING,)
        for trial in self.study.get_trials(deepcopy=False, states=open_states):
            if "points" not in trial.user_attrs:
                self.study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def tell(self, summaries: Mapping[str, Mapping[str, float]]) -> None:
        """Tell the study of trials whose points are all done.

        Args:
            summaries: By the id of a point, its figures.
        """
        open_states = (self._optuna.trial.TrialState.RUNNING,)
        with self.plan.lock():
            for trial in self.study.get_trials(deepcopy=False, states=open_states):
                points = trial.user_attrs.get("points")
                if points and all(point in summaries for point in points):
                    metric = self.ablation.settings.metric
                    values = [summaries[point].get(metric) for point in points]
                    known = [value for value in values if value is not None]
                    if len(known) < len(values):
                        raise UserError(f"{self.ablation.path}: no run has a figure {metric!r}")
                    self.study.tell(trial.number, fmean(known))

    def best(self) -> str:
        """Say which trial is best, and how to run it again; empty if none has ended."""
        complete = (self._optuna.trial.TrialState.COMPLETE,)
        trials = self.study.get_trials(deepcopy=False, states=complete)
        if not trials:
            return ""
        trial = self.study.best_trial
        chosen = self.ablation.common | trial.user_attrs["values"]
        settings = " ".join(f"'{assignment(k, v)}'" for k, v in chosen.items())
        metric = self.ablation.settings.metric
        return (
            f"best of {len(trials)} trials: {metric} {trial.value:.4g} of trial {trial.number}; "
            f"run it by: ugmm train {self.ablation.settings.experiment} {settings}"
        )

    def _points(self, values: dict[str, Any]) -> list["Point"]:
        variant = " ".join(assignment(name, value) for name, value in values.items())
        self.ablation.rows[variant] = self.ablation.common | values
        return [self.ablation.point(variant, each) for each in self.ablation.repetitions]


def check_space(ablation: "Ablation", path: Path) -> None:
    """Compose every end of the space, so that no trial can fail for its settings alone.

    Raises:
        UserError: If a key is unknown, or a value out of range or of the wrong type.
    """
    middle = {name: of.ends()[0] for name, of in ablation.space.items()}
    for name, of in ablation.space.items():
        for value in of.ends():
            row = f"{path.stem} with {assignment(name, value)}"
            ablation.rows[row] = ablation.common | middle | {name: value}
            ablation.point(row, ablation.repetitions[0])
            del ablation.rows[row]
