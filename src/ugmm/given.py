"""Rows of which something is known, as the user has them, ready to be asked about."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ugmm.errors import UserError, nearest
from ugmm.inference import (
    Evidence,
    Marginal,
    Posterior,
    marginal,
    posterior,
    sample,
)
from ugmm.inference.samples import Method, Samples
from ugmm.nn import Classifier
from ugmm.spec import Column, Spec, column_of

__all__ = ["Completed", "ConditionalColumn", "Drawn", "Given"]


@dataclass(frozen=True)
class Drawn:
    """Draws of whole rows, given what is known of some.

    Attributes:
        rows: Raw rows, (m, n, columns): n for each of m rows; see `ugmm.spec.Spec.decode`.
        labels: The names of their classes, (m, n); None if the network knows no label.
        diagnostics: How they were drawn and what they are worth, with the same draws in model
            units.
    """

    rows: np.ndarray
    labels: np.ndarray | None
    diagnostics: Samples


@dataclass(frozen=True)
class Completed:
    """The most probable completions of m rows.

    Attributes:
        rows: Raw rows, (m, columns).
        labels: The names of their classes, (m,); None if the network knows no label.
        log_prob: log p(row, class) in nats, in the units of the raw rows, (m,).
        agreed: How many of the search's starts ended there, (m,).
        gap: By how much a search ten times as large was better, (m,); None if not asked for.
        is_exact: Whether all completions were tried, (m,).
    """

    rows: np.ndarray
    labels: np.ndarray | None
    log_prob: Tensor
    agreed: Tensor
    gap: Tensor | None
    is_exact: Tensor


class ConditionalColumn:
    """The distribution of one numeric column, given what is known of each of m rows, in its units.

    Arguments:
        of: The same in model units.
        mean: What is added to its values, once multiplied by `std`.
        std: The column's standard deviation in training.
    """

    def __init__(self, of: Any, mean: float, std: float) -> None:
        self.of, self._mean, self._std = of, mean, std

    @property
    def mean(self) -> Tensor:
        """(m,)."""
        return self.of.mean.reshape(-1) * self._std + self._mean

    @property
    def variance(self) -> Tensor:
        """(m,)."""
        return self.of.variance.reshape(-1) * self._std**2

    def log_prob(self, values: Any) -> Tensor:
        """Return the log-density, in nats, of values of the column: (..., m) to (..., m)."""
        x = (torch.as_tensor(values, dtype=torch.float64) - self._mean) / self._std
        return self.of.log_prob(x.unsqueeze(-1)) - math.log(self._std)

    def quantile(self, share: float) -> Tensor:
        """Return the values below which this share of the probability lies: (m,)."""
        return self.of.quantile(share).reshape(-1) * self._std + self._mean

    def sample(self, n: int) -> Tensor:
        """Draw n values for each row: (n, m)."""
        return self.of.sample(n).squeeze(-1) * self._std + self._mean


class Given:
    """Rows of which something is known; `ugmm.trained.TrainedNetwork.given` makes it.

    Every answer says whether it is exact, and if not, how far it can be relied on; see
    `ugmm.inference`, whose functions it asks.

    Arguments:
        network: In evaluation mode and in model units.
        spec: What a row is.
        evidence: What is known, in model units.
        kept: Training rows in model units, (k, N), to fill missing inputs in from.
    """

    def __init__(
        self, network: Classifier, spec: Spec, evidence: Evidence, kept: Tensor | None = None
    ) -> None:
        own = next(chain(network.parameters(), network.buffers()))
        self.network, self.spec, self.kept = network, spec, kept
        self.evidence = evidence.to(own.device, own.dtype)

    def __len__(self) -> int:
        return len(self.evidence)

    def __getitem__(self, rows: slice | Tensor) -> "Given":
        """Return some of the rows: a slice, a mask or their numbers."""
        return Given(self.network, self.spec, self.evidence[rows], self.kept)

    def unknown_columns(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each numeric column that is not known in some rows, and the numbers of those."""
        for column, place in self._places():
            lacking = (~self.evidence.known[:, place]).nonzero().squeeze(1)
            if len(lacking) and not column.categories:
                yield column.name, lacking

    def posterior(self, *, n: int = 4096, seed: int = 0) -> Posterior:
        """Return p(class | what is known), in the order of the spec's `class_names`: (m, classes).

        Raises:
            UserError: If the network knows no classes, or cannot do without what is missing.
        """
        with _asking():
            found = posterior(self.network, self.evidence, n=n, seed=seed, rows=self.kept)
        if found.probs.shape[-1] < 2:
            raise UserError("this network knows no classes, and there is no posterior of them")
        return found

    def marginal(self, *, n: int = 8192, seed: int = 0) -> Marginal:
        """Return log p of what is known, in nats, in the units of the raw rows: (m,).

        Raises:
            UserError: If the network is no density, or what is known cannot be.
        """
        with _asking():
            found = marginal(self._density(), self.evidence, n=n, seed=seed)
        return found._replace(log_prob=found.log_prob - self._log_units(self.evidence.known))

    def sample(
        self,
        n: int,
        *,
        method: Method = "auto",
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Drawn:
        """Draw n whole rows for each row, given what is known of it.

        Raises:
            UserError: See `marginal`; or if the method does not apply.
        """
        with _asking():
            found = sample(
                self._density(), n, self.evidence, method=method, seed=seed, progress=progress
            )
        m = len(self)
        raw = self.spec.decode(found.features.reshape(m * n, -1).cpu())
        return Drawn(raw.reshape(m, n, -1), self._names(found.labels), found)

    def mpe(self, *, seed: int = 0, check: bool = False) -> Completed:
        """Return the most probable completion of each row, features and class together.

        Raises:
            UserError: See `marginal`.
        """
        with _asking():
            found = mpe(
                self._density(),
                self.evidence,
                seed=seed,
                check=check,
                choices=list(self._choices()),
                rows=self.kept,
            )
        rows = self.spec.decode(found.x.cpu())
        log_prob = found.log_prob - self._log_units(torch.ones_like(self.evidence.known))
        names = self._names(found.y)
        return Completed(rows, names, log_prob, found.agreed, found.gap, found.is_exact)

    def conditional(self, column: str, *, n: int = 4096, seed: int = 0) -> ConditionalColumn:
        """Return the distribution of a numeric column, which must be unknown in all rows.

        Raises:
            UserError: If there is no such column, it is known, or it is categorical; or as in
                `marginal`.
        """
        places = {each.name: (each, place) for each, place in self._places()}
        if column not in places:
            raise UserError(f"there is no column {column!r}; {nearest(column, list(places))}")
        found, place = places[column]
        if found.categories:
            raise UserError(
                f"column {column!r} is categorical, and a conditional is of numbers; draw from it "
                "by sample"
            )
        with _asking():
            of = conditional(self._density(), [place], self.evidence, n=n, seed=seed)
        mean, std = (self.spec.mean[place], self.spec.std[place]) if self.spec.std else (0.0, 1.0)
        return ConditionalColumn(of, mean, std)

    def _density(self) -> Any:
        if not self.network.normalized:
            raise UserError(
                "this network has no density of its inputs: it answers posteriors only; train one "
                "by task=generative"
            )
        return self.network

    def _log_units(self, known: Tensor) -> Tensor:
        """Return by how much log-densities of these features (m, N) are too large: (m,)."""
        if not self.spec.std:
            return torch.zeros(len(known), dtype=torch.float64, device=known.device)
        return known.double() @ torch.tensor(self.spec.std).double().log().to(known.device)

    def _names(self, labels: Tensor) -> np.ndarray | None:
        if getattr(self.network, "n_classes", self.spec.n_classes) < 2:
            return None
        return np.array(self.spec.class_names)[labels.cpu().numpy()]

    def _choices(self) -> Iterator[tuple[list[int], Tensor]]:
        """Yield each categorical column's features, and what they may be in model units (K, K)."""
        for column, place in self._places():
            if not column.categories:
                continue
            codes = np.eye(len(column.features))
            features = slice(place, place + len(codes))
            if self.spec.std:
                codes = (codes - self.spec.mean[features]) / self.spec.std[features]
            yield list(range(features.start, features.stop)), torch.from_numpy(codes)

    def _places(self) -> Iterator[tuple[Column, int]]:
        """Yield each column and the number of its first feature."""
        place = 0
        for column in self.spec.columns or map(column_of, range(self.spec.n_features)):
            yield column, place
            place += len(column.features)


@contextmanager
def _asking() -> Iterator[None]:
    """Make what a query refuses one line for the user."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise UserError(str(error)) from error
