"""A search: what to try next, knowing what became of the rest.

A trial is one choice of values, run with every seed; its points are planned like any other's.
Where the file gives `epochs`, trials climb rungs: all are trained for the first number of epochs,
and the best of a rung for the next (asynchronous successive halving: L. Li et al., "A System for
Massively Parallel Hyperparameter Tuning", arXiv:1810.05934). What is tried anew is chosen by
Optuna's tree-structured Parzen estimator, which is shown all trials, those that were left on a
rung as pruned.

Imports no torch, and Optuna only where something new is asked.
"""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ugmm.config.compose import assignment
from ugmm.config.values import as_text
from ugmm.errors import UserError
from ugmm.metrics import find_metric
from ugmm.report.tables import format_count
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import Point
from ugmm.studies.ablation.searching.trials import Ended, Trial, read_trials, write_trials
from ugmm.yaml_text import to_values

if TYPE_CHECKING:
    import optuna

__all__ = ["Best", "Search", "settle"]


@dataclass(frozen=True)
class Best:
    """What a search has found.

    Attributes:
        number: Of the trial.
        values: What it sets.
        score: Its mean of the metric on the rung where it was best.
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
        UserError: If the file is damaged, or of a search of something else.
    """

    def __init__(self, ablation: Ablation, ledger: Ledger) -> None:
        settings = ablation.settings
        self.ablation, self.ledger = ablation, ledger
        self.path = ledger.folder / "trials.json"
        self.rungs: Sequence[int | None] = settings.epochs or [None]
        self.searched = {
            "experiment": settings.experiment,
            "metric": settings.metric,
            "seeds": settings.seeds,
            "folds": settings.folds,
            "set": {key: to_values(value) for key, value in ablation.common.items()},
            "epochs": settings.epochs,
        }
        self.read_trials()

    def read_trials(self) -> list[Trial]:
        """Return all trials so far; see `ugmm.studies.ablation.searching.trials`."""
        return read_trials(self.path, self.searched)

    def count_left(self, ended: Ended) -> int:
        """Return how many trials are to be asked for; of a budget of seconds, one or none.

        If all have been, one that may climb counts.
        """
        trials = self.read_trials()
        if (budget := self.ablation.settings.seconds) is not None:
            return int(ended.add_seconds(trials, budget) < budget)
        left = max(0, self.ablation.settings.most_trials - len(trials))
        return left or int(self._find_promoted(trials, ended) is not None)

    def ask(self, ended: Ended) -> bool:
        """Plan the points of a new trial, or of one on its next rung; return whether any was left.

        Raises:
            UserError: If a summary lacks the metric, the space has changed, or Optuna is not
                installed.
        """
        with self.ledger.lock():
            trials = self.read_trials()
            if not self.count_left(ended):
                return False
            trial = self._find_promoted(trials, ended)
            if trial is None:
                trial = self._draw(trials, ended)
                trials.append(trial)
            rung = len(trial.rungs)
            planned = self.ledger.add(self._compose_points(trial.values, self.rungs[rung]))
            trial.rungs.append([point.id for point in planned])
            # Last: whoever is killed before this line asks for the same points again.
            write_trials(self.path, self.searched, trials)
        return True

    def find_best(self, ended: Ended) -> Best | None:
        """Return the best trial and the rung where it was best; None if none has ended.

        Each rung is a training of its own, and a longer one may be worse. Of scores that are equal
        the higher rung's counts. A trial that failed, or has no number for a score, is not chosen.
        """
        trials = self.read_trials()
        scores: dict[tuple[int, int], float] = {}  # by number and rung
        tried = 0
        for number, trial in enumerate(trials):
            found = self._list_scores(trial, ended)
            tried += bool(found)
            if not ended.has_failed(trial) and all(map(math.isfinite, found)):
                scores |= {(number, rung): score for rung, score in enumerate(found)}
        if not scores:
            return None
        sign = 1 if self.ablation.goal == "max" else -1
        number, rung = max(scores, key=lambda at: (sign * scores[at], at[1], -at[0]))
        seconds = ended.add_seconds(trials)
        score = scores[number, rung]
        return Best(number, trials[number].values, score, rung, tried, seconds)

    def list_chosen(self, best: Best) -> dict[str, Any]:
        """Return all that the best trial sets, on the rung where it was best."""
        return {**self.ablation.common, **self._settings_of(best.values, self.rungs[best.rung])}

    def describe_best(self, ended: Ended) -> str:
        """Say which trial is best, and how to run it again; empty if none has ended."""
        best = self.find_best(ended)
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

    def _find_promoted(self, trials: Sequence[Trial], ended: Ended) -> Trial | None:
        """Return the trial that is next to climb: of the highest rung that one may leave.

        One may that is among the best 1/n of those that have ended on its rung, n being how many
        times as long the next rung trains.
        """
        sign = -1 if self.ablation.goal == "max" else 1
        scores = [self._list_scores(trial, ended) for trial in trials]
        for rung in reversed(range(len(self.rungs) - 1)):
            here, above = self.ablation.settings.epochs[rung : rung + 2]
            ranked = [i for i, found in enumerate(scores) if len(found) > rung]
            ranked.sort(key=lambda i: sign * scores[i][rung])
            for i in ranked[: len(ranked) * here // above]:
                if len(trials[i].rungs) == rung + 1 and math.isfinite(scores[i][rung]):
                    return trials[i]
        return None

    def _draw(self, trials: Sequence[Trial], ended: Ended) -> Trial:
        """Have Optuna choose values, knowing all trials; a seed for each, so that it can go on."""
        try:
            import optuna
        except ImportError as error:
            raise UserError(
                "search: optuna needs Optuna; install it with: pip install 'optuna>=4.5,<6'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = self.ablation.space
        seed = 1000 * self.ablation.settings.seeds[0] + len(trials)
        study = optuna.create_study(
            direction="maximize" if self.ablation.goal == "max" else "minimize",
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        )
        distributions = {key: entry.distribution() for key, entry in space.items()}
        try:
            for trial in trials:
                study.add_trial(self._as_known(trial, distributions, ended))
        except ValueError as error:
            raise UserError(
                f"{self.ablation.path}: a space cannot be changed while it is searched "
                f"({error}); give the file another name, or remove {self.ledger.folder.parent}"
            ) from error
        params = study.ask(distributions).params
        return Trial(params, {key: entry.read(params[key]) for key, entry in space.items()})

    def _as_known(
        self, trial: Trial, distributions: Mapping[str, Any], ended: Ended
    ) -> "optuna.trial.FrozenTrial":
        """Return a trial for Optuna: complete on the last rung, pruned on another, or running."""
        from optuna.trial import TrialState, create_trial

        scores = self._list_scores(trial, ended)
        state = TrialState.PRUNED if scores else TrialState.RUNNING
        if complete := len(scores) == len(self.rungs):
            state = TrialState.COMPLETE
        elif ended.has_failed(trial):
            state = TrialState.FAIL
        return create_trial(
            state=state,
            value=scores[-1] if complete else None,
            params=trial.params,
            distributions=dict(distributions),
            intermediate_values=dict(enumerate(scores)),
        )

    def _list_scores(self, trial: Trial, ended: Ended) -> list[float]:
        try:
            return ended.list_scores(trial, self.ablation.settings.metric, self.ablation.goal)
        except UserError as error:
            raise UserError(f"{self.ablation.path}: {error}") from error

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
        search, ended = Search(tuned, ledger), Ended.read(ledger)
        points = ledger.read_points()
        if search.count_left(ended) or ledger.find_unfinished(points):
            raise UserError(
                f"{ablation.path}: the search of {name} is not over; go on with: ugmm ablate "
                f"{ablation.path}"
            )
        best = search.find_best(ended)
        if best is None:
            first = next((p for p in points if p.id in ended.failed), None)
            why = f", such as: {ledger.describe_failure(first)}" if first is not None else ""
            raise UserError(
                f"{ablation.path}: no trial of {name} has ended with a number for a score{why}; "
                f"mend that and try again: ugmm ablate {ablation.path} --retry"
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
