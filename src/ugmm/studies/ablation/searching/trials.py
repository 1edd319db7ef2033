"""The trials of a search: the file they are kept in, and what became of their runs.

Imports no torch.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ugmm.errors import UserError
from ugmm.reading import reading
from ugmm.studies.ablation.ledger import Ledger
from ugmm.writing import write_atomic

__all__ = ["Ended", "Trial", "read_trials", "write_trials"]

_FEW = 10  # failures, where nothing else has ended, that use up a budget of seconds


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
class Ended:
    """What has become of the points of a search.

    Attributes:
        summaries: Of the runs that are done, by the ids of their points.
        failed: The ids of points that failed.
    """

    summaries: Mapping[str, Mapping[str, float]]
    failed: frozenset[str] = frozenset()

    @classmethod
    def read(cls, ledger: Ledger) -> "Ended":
        """Read it from the run folders."""
        points = ledger.read_points()
        states = ledger.read_states(points)
        failed = frozenset(point.id for point in points if states[point.id] == "failed")
        return cls(ledger.read_summaries(points), failed)

    def has_failed(self, trial: Trial) -> bool:
        """Whether any run of a trial has failed."""
        return any(point in self.failed for ids in trial.rungs for point in ids)

    def list_scores(self, trial: Trial, metric: str, goal: str) -> list[float]:
        """Return a trial's mean of the metric on each rung on which it has ended.

        What is no number is infinitely bad.

        Raises:
            UserError: If a run lacks the metric.
        """
        scores = []
        for ids in trial.rungs:
            if not all(point in self.summaries for point in ids):
                break
            known = [self.summaries[p][metric] for p in ids if metric in self.summaries[p]]
            if len(known) < len(ids):
                raise UserError(
                    f"a run lacks the metric {metric!r}; name one that its summary.json has"
                )
            score = fmean(known)
            worst = -math.inf if goal == "max" else math.inf
            scores.append(worst if math.isnan(score) else score)
        return scores

    def add_seconds(self, trials: Sequence[Trial], budget: float = math.inf) -> float:
        """Return how long all trials were trained for.

        Args:
            trials: Of the search.
            budget: Of seconds. How long a run took that failed is not known: it counts as much as
                the mean of the others or, where there are none, as a tenth of the budget.
        """
        ids = [point for trial in trials for rung in trial.rungs for point in rung]
        took = [self.summaries[p].get("seconds", 0.0) for p in ids if p in self.summaries]
        failures = sum(point in self.failed for point in ids)
        if not failures or math.isinf(budget):
            return sum(took)
        return sum(took) + failures * (fmean(took) if took else budget / _FEW)


def read_trials(path: Path, searched: Mapping[str, Any]) -> list[Trial]:
    """Return the trials of a file; none where there is no file.

    Args:
        path: Of the file.
        searched: What the trials have in common, as JSON has it: their scores are comparable with
            those of others only if that is still the same. Rungs may be added.

    Raises:
        UserError: If the file is damaged, or of a search of something else.
    """
    with reading(path):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
    try:
        content = json.loads(text)
        before, trials = dict(content["searched"]), [Trial(**entry) for entry in content["trials"]]
        rungs = list(before["epochs"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"{path} is damaged ({type(error).__name__}: {error})"
        raise UserError(f"{what}; remove it to search anew") from error
    grown = {**before, "epochs": searched["epochs"]} if rungs else before
    if grown != searched or searched["epochs"][: len(rungs)] != rungs:
        changed = [key for key in searched if searched[key] != before.get(key)]
        raise UserError(
            f"{', '.join(changed)} changed since {path} was begun, with whose trials others "
            f"cannot be compared; change it back, or remove {path.parent.parent} to search anew"
        )
    return trials


def write_trials(path: Path, searched: Mapping[str, Any], trials: Sequence[Trial]) -> None:
    """Write all trials down; see `read_trials`."""
    content = {"searched": searched, "trials": [asdict(trial) for trial in trials]}
    write_atomic(path, json.dumps(content, indent=1) + "\n")
