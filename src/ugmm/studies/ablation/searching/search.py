"""A search: what to try next, knowing what became of the rest.

A trial is one choice of values, run with every seed; its points are planned like any other's.
Where the file gives `epochs`, trials climb rungs: all are trained for the first number of epochs,
and the best of a rung for the next (asynchronous successive halving: L. Li et al., "A System for
Massively Parallel Hyperparameter Tuning", arXiv:1810.05934). What is tried anew is chosen by
Optuna's tree-structured Parzen estimator, which is shown all trials, those that were left on a
rung as pruned.

Imports no torch, and Optuna only where something is asked.
"""

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ugmm.config.compose import assignment
from ugmm.config.values import as_text
from ugmm.errors import UserError
from ugmm.metrics import find_metric
from ugmm.reading import reading
from ugmm.report.tables import format_count
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import Point
from ugmm.writing import write_atomic

if TYPE_CHECKING:
    import optuna

__all__ = ["Best", "Search", "Summaries", "settle"]

Summaries = Mapping[str, Mapping[str, float]]  # of runs, by the ids of their points


@dataclass
class Trial:
    """One choice of values.

    Attributes:
        params: As Optuna knows them.
        values: What is set, by key.
        rungs: On each rung that it has reached, the ids of its points.
    """

    params: dict[str, Any]
    values: dict[str, Any]
    rungs: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Best:
    """What a search has found.

    Attributes:
        number: Of the trial.
        values: What it sets.
        score: Its mean of the metric on the highest rung that any trial has finished.
        rung: That rung, from 0.
        trials: How many trials have a score.
        seconds: That all of them were trained for.
    """

    number: int
    values: dict[str, Any]
    score: float
    rung: int
    trials: int
    seconds: float


class Search:
    """The trials of an ablation with a space, in a file that processes and machines share.

    Arguments:
        ablation: One with a space.
        ledger: Where its points are planned.

    Raises:
        UserError: If Optuna is not installed, or the file is damaged.
    """

    def __init__(self, ablation: Ablation, ledger: Ledger) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UserError(
                "search: optuna needs Optuna; install it with: pip install 'optuna>=4.5,<6'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.ablation, self.ledger, self._optuna = ablation, ledger, optuna
        self.path = ledger.folder / "trials.json"
        self.rungs: Sequence[int | None] = ablation.settings.epochs or [None]
        self.read_trials()

    def read_trials(self) -> list[Trial]:
        """Return all trials so far.

        Raises:
            UserError: If the file is damaged.
        """
        with reading(self.path):
            try:
                text = self.path.read_text(encoding="utf-8")
            except FileNotFoundError:
                return []
        try:
            return [Trial(**entry) for entry in json.loads(text)["trials"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"{type(error).__name__}: {error}"
            raise UserError(
                f"{self.path} is damaged ({what}); remove it to search anew"
            ) from error

    def count_left(self, summaries: Summaries) -> int:
        """Return how many trials are to be asked for; of a budget of seconds, one or none."""
        trials, settings = self.read_trials(), self.ablation.settings
        if settings.seconds is not None:
            return int(self._add_seconds(trials, summaries) < settings.seconds)
        return max(0, settings.trials - len(trials))

    def ask(self, summaries: Summaries) -> bool:
        """Plan the points of a new trial, or of one on its next rung; return whether any was left.

        Args:
            summaries: Of all runs that are done.

        Raises:
            UserError: If a summary lacks the metric, or the space has changed.
        """
        with self.ledger.lock():
            trials = self.read_trials()
            left = self.count_left(summaries)
            spent = self.ablation.settings.seconds is not None and not left
            trial = None if spent else self._find_promoted(trials, summaries)
            if trial is None:
                if not left:
                    return False
                trial = self._draw(trials, summaries)
                trials.append(trial)
            rung = len(trial.rungs)
            planned = self.ledger.add(self._compose_points(trial.values, self.rungs[rung]))
            trial.rungs.append([point.id for point in planned])
            # Last: whoever is killed before this line asks for the same points again.
            content = {"trials": [asdict(trial) for trial in trials]}
            write_atomic(self.path, json.dumps(content, indent=1) + "\n")
        return True

    def find_best(self, summaries: Summaries) -> Best | None:
        """Return the best trial of those on the highest rung; None if none has ended."""
        trials = self.read_trials()
        scores = [self._list_scores(trial, summaries) for trial in trials]
        rung = max(map(len, scores), default=0) - 1
        if rung < 0:
            return None
        top = {i: found[rung] for i, found in enumerate(scores) if len(found) > rung}
        number = (max if self.ablation.goal == "max" else min)(top, key=top.__getitem__)
        ended = sum(map(bool, scores))
        seconds = self._add_seconds(trials, summaries)
        return Best(number, trials[number].values, top[number], rung, ended, seconds)

    def list_chosen(self, best: Best) -> dict[str, Any]:
        """Return all that the best trial sets, on the last rung."""
        return {**self.ablation.common, **self._settings_of(best.values, self.rungs[-1])}

    def describe_best(self, summaries: Summaries) -> str:
        """Say which trial is best, and how to run it again; empty if none has ended."""
        best = self.find_best(summaries)
        if best is None:
            return ""
        chosen = {"experiment": self.ablation.settings.experiment, **self.list_chosen(best)}
        words = ["ugmm", "train", as_text(chosen.pop("experiment")), *_assignments(chosen)]
        metric = self.ablation.settings.metric
        return (
            f"best of {format_count(best.trials, 'trial')}: {metric} {best.score:.4g} of trial "
            f"{best.number}; run it by: {shlex.join(words)}"
        )

    def describe(self, family: str, best: Best) -> str:
        """Say what a family's search was given, and what it chose."""
        chosen = ", ".join(assignment(key, value) for key, value in best.values.items())
        epochs = self.rungs[best.rung]
        after = "" if epochs is None else f" after {format_count(epochs, 'epoch')}"
        key = self.ablation.settings.metric
        score = f"{key} {find_metric(key).format_alone(best.score)}{after}"
        given = f"{format_count(best.trials, 'setting')}, trained for {best.seconds:.0f} s in all"
        return f"{family}: the best of {given}, has {score}: {chosen}."

    def _find_promoted(self, trials: Sequence[Trial], summaries: Summaries) -> Trial | None:
        """Return the trial that is next to climb: of the highest rung that one may leave.

        One may that is among the best 1/n of those that have ended on its rung, n being how many
        times as long the next rung trains.
        """
        sign = -1 if self.ablation.goal == "max" else 1
        scores = [self._list_scores(trial, summaries) for trial in trials]
        for rung in reversed(range(len(self.rungs) - 1)):
            here, above = self.ablation.settings.epochs[rung : rung + 2]
            ended = [i for i, found in enumerate(scores) if len(found) > rung]
            ended.sort(key=lambda i: sign * scores[i][rung])
            for i in ended[: len(ended) * here // above]:
                if len(trials[i].rungs) == rung + 1:
                    return trials[i]
        return None

    def _draw(self, trials: Sequence[Trial], summaries: Summaries) -> Trial:
        """Have Optuna choose values, knowing all trials; a seed for each, so that it can go on."""
        optuna, space = self._optuna, self.ablation.space
        seed = 1000 * self.ablation.settings.seeds[0] + len(trials)
        study = optuna.create_study(
            direction="maximize" if self.ablation.goal == "max" else "minimize",
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        )
        distributions = {key: entry.distribution() for key, entry in space.items()}
        try:
            for trial in trials:
                study.add_trial(self._as_known(trial, distributions, summaries))
        except ValueError as error:
            raise UserError(
                f"{self.ablation.path}: a space cannot be changed while it is searched "
                f"({error}); give the file another name, or remove {self.ledger.folder.parent}"
            ) from error
        params = study.ask(distributions).params
        return Trial(params, {key: entry.read(params[key]) for key, entry in space.items()})

    def _as_known(
        self, trial: Trial, distributions: Mapping[str, Any], summaries: Summaries
    ) -> "optuna.trial.FrozenTrial":
        """Return a trial for Optuna: complete on the last rung, pruned on another, or running."""
        state = self._optuna.trial.TrialState
        scores = self._list_scores(trial, summaries)
        complete = len(scores) == len(self.rungs)
        return self._optuna.create_trial(
            state=state.COMPLETE if complete else state.PRUNED if scores else state.RUNNING,
            value=scores[-1] if complete else None,
            params=trial.params,
            distributions=dict(distributions),
            intermediate_values=dict(enumerate(scores)),
        )

    def _list_scores(self, trial: Trial, summaries: Summaries) -> list[float]:
        """Return a trial's mean of the metric on each rung on which it has ended."""
        metric, scores = self.ablation.settings.metric, []
        for ids in trial.rungs:
            if not all(point in summaries for point in ids):
                break
            known = [summaries[point][metric] for point in ids if metric in summaries[point]]
            if len(known) < len(ids):
                raise UserError(
                    f"{self.ablation.path}: a run lacks the metric {metric!r}; name one that its "
                    "summary.json has"
                )
            score = fmean(known)
            worst = -math.inf if self.ablation.goal == "max" else math.inf
            scores.append(worst if math.isnan(score) else score)
        return scores

    def _add_seconds(self, trials: Sequence[Trial], summaries: Summaries) -> float:
        ids = [point for trial in trials for rung in trial.rungs for point in rung]
        return sum(summaries[point].get("seconds", 0.0) for point in ids if point in summaries)

    def _settings_of(self, values: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
        return {**values, **({} if epochs is None else {"trainer.max_epochs": epochs})}

    def _compose_points(self, values: Mapping[str, Any], epochs: int | None) -> list[Point]:
        settings = self._settings_of(values, epochs)
        variant = " ".join(assignment(key, value) for key, value in settings.items())
        return [
            self.ablation.compose_point(variant, {**self.ablation.common, **settings}, repetition)
            for repetition in self.ablation.repetitions
        ]


def settle(ablation: Ablation) -> tuple[Ablation, list[str]]:
    """Return an ablation with its families as variants: of each, what its search has found best.

    Returns:
        the ablation, as it is if it has no families, and a sentence on each search.

    Raises:
        UserError: If a search is not over.
    """
    variants, notes = {}, []
    for name, tuned in ablation.searches.items():
        ledger = tuned.open_ledger()
        points = ledger.read_points()
        search, summaries = Search(tuned, ledger), ledger.read_summaries(points)
        best = search.find_best(summaries)
        if best is None or search.count_left(summaries) or ledger.find_unfinished(points):
            raise UserError(
                f"{ablation.path}: the search of {name} is not over; go on with: ugmm ablate "
                f"{ablation.path}"
            )
        variants[name] = search.list_chosen(best)
        notes.append(search.describe(name, best))
    return (replace(ablation, variants=variants, families={}) if variants else ablation), notes


def _assignments(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings for the command line, where `trainer={max_epochs: 1}` would name a file."""
    for key, value in settings.items():
        if "." not in key and isinstance(value, Mapping):
            yield from (assignment(f"{key}.{name}", item) for name, item in value.items())
        else:
            yield assignment(key, value)
