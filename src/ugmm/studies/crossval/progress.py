"""Which fits a cross-validation needs, and what the console says as they are done."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ugmm.report.escaping import for_terminal
from ugmm.studies.crossval.fits import Place
from ugmm.terminal import say

__all__ = ["Fit", "Progress"]

_LEAST_SECONDS = 10.0  # between two lines of progress


@dataclass(frozen=True)
class Fit:
    """A fit that is needed.

    Attributes:
        model: The model's name.
        candidate: Which of its candidates.
        place: Which rows it is given.
    """

    model: str
    candidate: int
    place: Place


class Progress:
    """Lines that say what is done and how long the rest will take."""

    def __init__(self, total: int, later: int) -> None:
        self.total, self.later = total, later
        self.done = self.failed = 0
        self.started = self.printed = time.monotonic()

    def show(self, fit: Fit, result: Mapping[str, Any]) -> None:
        """Count a fit; print a line if it failed, is the last, or some seconds have passed."""
        self.done += 1
        place = fit.place
        if result["error"] is not None:
            self.failed += 1
            where = f"{place.data}, seed {place.seed}, fold {place.fold}, inner fold {place.inner}"
            say(for_terminal(f"failed: {fit.model} ({where}): {result['error']}"))
        now = time.monotonic()
        if now - self.printed < _LEAST_SECONDS and self.done < self.total:
            return
        self.printed = now
        left = (now - self.started) / self.done * (self.total - self.done + self.later)
        stage = "outer" if place.inner is None else "inner"
        failed = f"  {self.failed} failed" if self.failed else ""
        say(
            f"{stage} fit {self.done}/{self.total}  {for_terminal(fit.model)}{failed}  "
            f"{_minutes(left)} left"
        )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
