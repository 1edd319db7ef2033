"""Sharing a cross-validation among processes and machines: each takes the folds that are free."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ugmm.studies.claims import STALE, Claims
from ugmm.studies.crossval.fits import Place

__all__ = ["take_turns"]

_LOOK_SECONDS = 2.0
# What somebody had who has just died counts as taken for as long as this.
_PATIENCE = 1.5 * STALE


def take_turns(run: Callable[[Place], object], places: Sequence[Place], folder: Path) -> bool:
    """Run the outer folds that nobody else is at, until none is free.

    Args:
        run: Does what is not known of one; where all is known, at once.
        places: The outer folds.
        folder: Where the claims on them lie.

    Returns:
        whether all of them are done.
    """
    claims = Claims(folder)
    left, idle_since = list(places), time.monotonic()
    while left:
        taken = [place for place in left if not _run_if_free(run, place, claims)]
        if len(taken) < len(left):
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > _PATIENCE:
            return False
        else:
            time.sleep(_LOOK_SECONDS)
        left = taken
    return True


def _run_if_free(run: Callable[[Place], object], place: Place, claims: Claims) -> bool:
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    missing = f"{place.missing:g}".replace(".", "_")  # behind a point stands a claim's number
    name = f"{place.data}-missing{missing}-seed{place.seed}-fold{place.fold}"
    with claims.holding(name, stop) as held:
        if held:
            run(place)
        return held
