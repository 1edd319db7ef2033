"""Whether Markov chains agree, and how many independent draws they are worth. Imports no torch."""

import math
from typing import NamedTuple

import numpy as np

__all__ = ["ChainDiagnostics", "diagnose_chains"]

_FEWEST = 4  # draws of each chain, of which R-hat is made of halves


class ChainDiagnostics(NamedTuple):
    """What chains say of each feature.

    Attributes:
        rhat: The rank-normalised split R-hat, (D,): near 1 where all chains tell the same, and
            from about 1.01 on they do not; 1 for a feature that never changes, as a known one.
        effective: The number of independent draws that all chains together are worth, (D,).
    """

    rhat: np.ndarray
    effective: np.ndarray

    @property
    def worst_rhat(self) -> float:
        """The largest R-hat of all features."""
        return float(self.rhat.max(initial=1.0))

    @property
    def least_effective(self) -> float:
        """The smallest effective number of draws of all features."""
        return float(self.effective.min(initial=math.inf))


def diagnose_chains(draws: np.ndarray) -> ChainDiagnostics:
    """Compare chains with each other. It needs the extra `diagnostics`.

    Args:
        draws: (chains, draws of each, D), as from `Samples.by_chain`.

    Raises:
        ValueError: If there are fewer than two chains, or a chain has too few draws.

    References:
        A. Vehtari, A. Gelman, D. Simpson, B. Carpenter and P.-C. Bürkner, *Rank-normalization,
        folding, and localization: an improved R-hat*, Bayesian Analysis 16 (2021).
    """
    from arviz_stats.base import array_stats

    chains, n, width = draws.shape
    if chains < 2 or n < _FEWEST:
        raise ValueError(
            f"R-hat compares at least 2 chains of {_FEWEST} draws, got {chains} of {n}; ask for "
            "more draws"
        )
    moving = (draws != draws[:1, :1]).any((0, 1))
    rhat, effective = np.ones(width), np.full(width, float(chains * n))
    if moving.any():
        moved = draws[:, :, moving].astype(np.float64)
        rhat[moving] = array_stats.rhat(moved, chain_axis=0, draw_axis=1)
        effective[moving] = array_stats.ess(moved, chain_axis=0, draw_axis=1)
    return ChainDiagnostics(rhat, effective)
