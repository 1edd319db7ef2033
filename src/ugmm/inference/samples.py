"""Whole rows drawn from a density, given what is known of them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ugmm.errors import UGMMWarning
from ugmm.inference.asking import (
    Asked,
    check_density,
    check_evidence,
    generator_of,
    refuse_levels,
)
from ugmm.inference.chains import CHAINS, gibbs, mala, metropolis
from ugmm.inference.weights import (
    RowSamples,
    Worth,
    draws_of,
    effective,
    is_exact,
    resample,
)
from ugmm.nn.checks import check_positive
from ugmm.nn.evidence import Evidence, Queryable

__all__ = ["Method", "Samples", "by_importance", "sample"]

Method = Literal["auto", "importance", "metropolis", "mala", "gibbs"]
_BY_CHAINS = {"metropolis": metropolis, "mala": mala, "gibbs": gibbs}
_METHODS = ("auto", "importance", *_BY_CHAINS)

_LEAST_SHARE = 0.005  # of effective draws, below which importance resampling gives way to MALA
_EFFECTIVE = 8  # effective draws for each one that is kept: so that few are kept twice
_MOST = 64  # draws for each one that is kept, however few of them are effective
_PROBE = 64  # draws by which a density shows whether it draws exactly
_FEWEST, _PART = 1024, 8192  # draws at a time
_ENOUGH = 100  # effective draws behind samples, below which they come with a warning
_APART = 3  # effective draws of each chain, below which they come with a warning

Report = Callable[[int], None]


@dataclass(frozen=True)
class Samples:
    """Draws of equal weight for each row of the evidence, and what they are worth.

    Attributes:
        features: (rows, n, D), in model units; what was known is as it was.
        labels: (rows, n).
        methods: How each row's were drawn: ``"independent"`` (without weights: exactly, or from
            a random order's own orders), ``"importance"``, ``"metropolis"``, ``"mala"`` or
            ``"gibbs"``.
        effective: About how many independent draws a row's are worth, (rows,), float64; for chains
            by how far their means lie apart.
        share: The effective share of the weighted draws behind them, (rows,), float64.
        largest: The largest share that one of those has of all weight, (rows,), float64.
        acceptance: The share of proposals that a row's chains accepted, (rows,), float64; 1 where
            there are no chains.
    """

    features: Tensor
    labels: Tensor
    methods: tuple[str, ...]
    effective: Tensor
    share: Tensor
    largest: Tensor
    acceptance: Tensor

    def has_chains(self, row: int) -> bool:
        """Return whether a row's draws are states of Markov chains."""
        return self.methods[row] in _BY_CHAINS

    def by_chain(self, row: int) -> Tensor:
        """Return the features of a row's chains: (chains, draws of each, D).

        Raises:
            ValueError: If its draws come from no chains.
        """
        if not self.has_chains(row):
            raise ValueError(f"the draws of row {row} are independent: they come from no chains")
        x = self.features[row]
        steps = len(x) // CHAINS
        return x[: steps * CHAINS].reshape(steps, CHAINS, -1).transpose(0, 1)


@torch.no_grad()
def sample(
    density: Queryable,
    n: int,
    evidence: Evidence | None = None,
    *,
    method: Method = "auto",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """Draw n rows for each row of the evidence.

    Importance resampling takes some times n draws of the density's proposal and keeps n of them by
    their weights; a density that draws exactly just draws. Independence Metropolis-Hastings asks
    the same proposal. MALA follows the gradient of the log-density, from resampled draws on. Gibbs
    draws one feature after the other, on a grid where they are continuous. MALA's and Gibbs's
    chains stay near to where they began if modes lie far apart: so importance is the default, and
    MALA takes over only where less than 0.005 of its draws are effective.

    Args:
        density: Of D features and C classes.
        n: Draws for each row, at least 1.
        evidence: Rows in model units; by default one of which nothing is known.
        method: ``"auto"``, ``"importance"``, ``"metropolis"``, ``"mala"`` or ``"gibbs"``.
        seed: Seed of all draws. A row's depend on its place, and not on the other rows.
        progress: Is told, now and then, how many draws there are, and how many there will be.

    Raises:
        ValueError: If the density cannot be queried, the evidence is not of its kind, or there is
            no such method for its features.
    """
    check_positive(n=n)
    asked = check_density(density)
    if method not in _METHODS:
        raise ValueError(f"there is no method {method!r}; choose one of {', '.join(_METHODS)}")
    if method == "mala" and asked.binary:
        raise ValueError("mala follows gradients, and features that are 0 or 1 have none")
    if method in ("mala", "gibbs"):
        refuse_levels(asked, method)
    if evidence is None:
        evidence = Evidence.nothing(asked.n_features)
    evidence = check_evidence(asked, evidence)
    report = _reporter(progress, n * len(evidence))
    features = evidence.x.new_empty(len(evidence), n, asked.n_features)
    labels, worth = evidence.y.new_empty(len(evidence), n), []
    with asked.prepared():
        for i in range(len(evidence)):
            row, generator = evidence[i : i + 1], generator_of(seed, i)
            try:
                features[i], labels[i], found = _draw(asked, row, n, method, generator, report)
            except ValueError as error:
                raise ValueError(f"row {i}: {error}") from error
            _warn(i, n, found)
            worth.append(found)
    numbers = torch.tensor([w[1:] for w in worth], dtype=torch.float64).reshape(-1, 4)
    return Samples(features, labels, tuple(w.method for w in worth), *numbers.unbind(1))


def _reporter(progress: Callable[[int, int], None] | None, total: int) -> Report:
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    return report


def _draw(
    density: Asked,
    row: Evidence,
    n: int,
    method: Method,
    generator: torch.Generator,
    report: Report,
) -> RowSamples:
    """Draw n rows given one row of evidence."""
    if method in ("auto", "importance"):
        least = _LEAST_SHARE if method == "auto" and density.levels is None else 0
        drawn = by_importance(density, row, n, generator, report, least)
        if drawn is not None:
            return drawn
        method = "mala"
    return _BY_CHAINS[method](density, row, n, generator, report)


def by_importance(
    density: Asked,
    row: Evidence,
    n: int,
    generator: torch.Generator,
    report: Report | None = None,
    least_share: float = 0.0,
) -> RowSamples | None:
    """Draw n rows by weighted draws, some at a time; return None if too few are effective."""
    exact = is_exact(draws_of(density, row, _PROBE, generator))
    x, y = row.x.new_empty(n, row.x.shape[1]), row.y.new_empty(n)
    done, total, squares, largest = 0, 0, 0.0, 0.0
    while done < n:
        left = n - done
        size = min(_PART, left if exact else max(_FEWEST, _EFFECTIVE * left))
        draws = draws_of(density, row, size, generator)
        log_weight, exact = draws.log_weight[0], exact and is_exact(draws)
        ess = effective(draws)
        if done == 0 and ess < least_share * size:
            return None
        keep = min(left, size if exact else max(1, int(ess / _EFFECTIVE), size // _MOST))
        chosen = resample(log_weight, keep, generator)
        x[done : done + keep], y[done : done + keep] = draws.x[0, chosen], draws.y[0, chosen]
        done, total, squares = done + keep, total + size, squares + size**2 / ess
        largest = max(largest, size * float(log_weight.max().exp()))
        if report is not None:
            report(keep)
    ess = total**2 / squares
    worth = n if exact else 1 / (1 / n + 1 / ess)
    method = "independent" if exact else "importance"
    return RowSamples(x, y, Worth(method, worth, min(1, ess / total), largest / total, 1.0))


def _warn(row: int, n: int, worth: Worth) -> None:
    """Warn if a row's draws are not to be trusted, and say what to do."""
    if worth.method in ("independent", "importance"):
        if worth.effective < min(_ENOUGH, n / 2):
            _say(row, worth, f"worth {worth.effective:.0f} independent ones: ask for more")
    elif worth.method == "mala" and worth.share < _LEAST_SHARE:
        _say(row, worth, "of MALA's chains, which may miss modes: look at their R-hat")
    elif worth.effective < min(_APART * CHAINS, n / 4):
        worth_of = f"worth about {worth.effective:.0f} independent ones"
        _say(row, worth, f"of chains that stay apart, {worth_of}: prefer the method importance")


def _say(row: int, worth: Worth, what: str) -> None:
    share = f"{worth.share:.2g} of the weighted draws behind them is effective"
    warnings.warn(f"row {row}: the draws are {what}; {share}", UGMMWarning, stacklevel=5)
