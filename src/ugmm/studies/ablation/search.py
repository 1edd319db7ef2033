"""Optuna's side of an ablation that searches: what to try next, knowing what became of the rest.

A trial is one choice of values, run with every seed; its points are planned like any other's.
Imports no torch, and Optuna only where something is searched.
"""

import shlex
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from filelock import FileLock

from ugmm.config.compose import assignment
from ugmm.config.values import as_text
from ugmm.errors import UserError
from ugmm.report.tables import format_count
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.points import Point
from ugmm.writing import cut_torn_line, make_folder

__all__ = ["Search"]


class Search:
    """The study of an ablation, in a journal that processes and machines share.

    Arguments:
        ablation: One with a space.
        ledger: Where its points are planned.

    Raises:
        UserError: If Optuna is not installed, or the journal is damaged.
    """

    def __init__(self, ablation: Ablation, ledger: Ledger) -> None:
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError as error:
            raise UserError(
                "search: optuna needs Optuna; install it with: pip install 'optuna>=4.5,<6'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.ablation, self.ledger, self._optuna = ablation, ledger, optuna
        make_folder(ledger.folder)
        journal = ledger.folder / "optuna.log"
        # Optuna's own locks are links, which a process that is killed leaves behind: whoever
        # comes next would wait for it for ever.
        lock = FileLock(ledger.folder / ".optuna.lock")
        with lock:
            cut_torn_line(journal)  # what is added to it would be lost with it
        backend = JournalFileBackend(str(journal), lock_obj=lock)  # type: ignore[arg-type]
        try:
            self.study = optuna.create_study(
                storage=JournalStorage(backend),
                study_name=ablation.name,
                direction="maximize" if ablation.goal == "max" else "minimize",
                load_if_exists=True,
            )
        except OSError:
            raise
        except Exception as error:  # Optuna replays its journal unchecked: it may raise anything
            what = f"{type(error).__name__}: {error}"
            raise UserError(f"{journal} is damaged ({what}); remove it to search anew") from error

    def count_left(self) -> int:
        """Return how many trials have not been asked for yet."""
        return max(0, self.ablation.settings.trials - self._count_planned())

    def count_points_left(self) -> int:
        """Return how many points those trials will have."""
        return self.count_left() * len(self.ablation.repetitions)

    def _count_planned(self) -> int:
        trials = self.study.get_trials(deepcopy=False)
        return sum("points" in trial.user_attrs for trial in trials)

    def ask(self) -> bool:
        """Plan the points of one more trial; return whether there was one left."""
        with self.ledger.lock():
            self._drop_orphans()
            if not self.count_left():
                return False
            # A seed for each trial: a study that is taken up again goes on as it would have.
            seed = 1000 * self.ablation.settings.seeds[0] + self._count_planned()
            self.study.sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            trial = self.study.ask()
            try:
                values = {k: of.suggest(trial, k) for k, of in self.ablation.space.items()}
            except ValueError as error:
                raise UserError(
                    f"{self.ablation.path}: a space cannot be changed while it is searched "
                    f"({error}); give the file another name, or remove {self.ledger.folder.parent}"
                ) from error
            points = self._compose_points(values)
            trial.set_user_attr("values", values)
            planned = self.ledger.add(points)
            trial.set_user_attr("points", [point.id for point in planned])  # now it counts
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
            summaries: By the id of a point, its run's summary.

        Raises:
            UserError: If a summary lacks the metric.
        """
        open_states = (self._optuna.trial.TrialState.RUNNING,)
        metric = self.ablation.settings.metric
        with self.ledger.lock():
            for trial in self.study.get_trials(deepcopy=False, states=open_states):
                points = trial.user_attrs.get("points")
                if points and all(point in summaries for point in points):
                    values = [summaries[point].get(metric) for point in points]
                    known = [value for value in values if value is not None]
                    if len(known) < len(values):
                        raise UserError(
                            f"{self.ablation.path}: a run lacks the metric {metric!r}; name one "
                            "that its summary.json has"
                        )
                    self.study.tell(trial.number, fmean(known))

    def describe_best(self) -> str:
        """Say which trial is best, and how to run it again; empty if none has ended."""
        complete = (self._optuna.trial.TrialState.COMPLETE,)
        trials = self.study.get_trials(deepcopy=False, states=complete)
        if not trials:
            return ""
        trial = self.study.best_trial
        chosen = {"experiment": self.ablation.settings.experiment, **self.ablation.common}
        chosen |= trial.user_attrs["values"]
        words = ["ugmm", "train", as_text(chosen.pop("experiment")), *_assignments(chosen)]
        metric = self.ablation.settings.metric
        return (
            f"best of {format_count(len(trials), 'trial')}: {metric} {trial.value:.4g} of trial "
            f"{trial.number}; run it by: {shlex.join(words)}"
        )

    def _compose_points(self, values: Mapping[str, Any]) -> list[Point]:
        variant = " ".join(assignment(key, value) for key, value in values.items())
        settings = {**self.ablation.common, **values}
        return [
            self.ablation.compose_point(variant, settings, repetition)
            for repetition in self.ablation.repetitions
        ]


def _assignments(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings for the command line, where `trainer={max_epochs: 1}` would name a file."""
    for key, value in settings.items():
        if "." not in key and isinstance(value, Mapping):
            yield from (assignment(f"{key}.{name}", item) for name, item in value.items())
        else:
            yield assignment(key, value)
