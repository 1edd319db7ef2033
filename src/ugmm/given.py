"""Rows of which something is known, as the user has them, ready to be asked about."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ugmm.errors import UserError, nearest
from ugmm.inference import (
    Conditional,
    Evidence,
    Marginal,
    Posterior,
    conditional,
    marginal,
    mpe,
    posterior,
    sample,
)
from ugmm.inference.asking import alike, beside
from ugmm.inference.samples import Method, Samples
from ugmm.nn import Classifier
from ugmm.spec import Column, Spec, column_of

__all__ = ["ColumnsGiven", "Completed", "Drawn", "Given"]


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


class ColumnsGiven:
    """The distribution of numeric columns given what is known of each of R rows, in their units.

    As in `ugmm.inference.Conditional`, an event is a number where it is of one column, and of
    shape (m,) where it is of m.

    Arguments:
        of: The same in model units.
        mean: What is added to each column's values, once multiplied by `std`: () or (m,).
        std: The columns' standard deviations in training, () or (m,).
    """

    def __init__(self, of: Conditional, mean: Tensor, std: Tensor) -> None:
        self.of, self._mean, self._std = of, mean, std

    @property
    def mean(self) -> Tensor:
        """(R, *event)."""
        return self._to_raw(self.of.mean)

    @property
    def error(self) -> Tensor:
        """The standard error of `mean`, (R, *event)."""
        return self.of.error * self._std

    @property
    def variance(self) -> Tensor:
        """(R, *event)."""
        return self.of.variance * self._std**2

    @property
    def stddev(self) -> Tensor:
        """(R, *event)."""
        return self.of.stddev * self._std

    def log_prob(self, values: Any) -> Tensor:
        """Return the log-density, in nats, of values: (..., R, *event) to (..., R)."""
        x = (torch.as_tensor(values, dtype=torch.float64) - self._mean) / self._std
        return self.of.log_prob(x) - self._std.log().sum()

    def quantile(self, mass: float | Tensor) -> Tensor:
        """Return values that have so much mass below them, each column's: (*mass, R, *event)."""
        return self._to_raw(self.of.quantile(mass))

    def sample(self, k: int = 1) -> Tensor:
        """Draw (k, R, *event)."""
        return self._to_raw(self.of.sample(k))

    def _to_raw(self, x: Tensor) -> Tensor:
        return x * self._std + self._mean


class Given:
    """Rows of which something is known; `ugmm.trained.TrainedNetwork.given` makes it.

    Every answer says whether it is exact, and if not, how far it can be relied on; see
    `ugmm.inference`, whose functions it asks.

    Arguments:
        network: In evaluation mode and in model units.
        spec: What a row is.
        evidence: What is known, in model units.
        kept: Training rows in model units, (k, N), to fill missing inputs in from.
        normalize: Called before a density is asked what its partition function matters to.
    """

    def __init__(
        self,
        network: Classifier,
        spec: Spec,
        evidence: Evidence,
        kept: Tensor | None = None,
        normalize: Callable[[], None] = lambda: None,
    ) -> None:
        self.network, self.spec, self.kept, self.normalize = network, spec, kept, normalize
        self.evidence = beside(network, evidence)

    def __len__(self) -> int:
        return len(self.evidence)

    def __getitem__(self, rows: slice | Tensor) -> "Given":
        """Return some of the rows: a slice, a mask or their numbers."""
        return Given(self.network, self.spec, self.evidence[rows], self.kept, self.normalize)

    def alike(self, most: int) -> Iterator[Tensor]:
        """Yield the numbers of up to so many rows of which the same is known, until all were.

        A density answers all of them exactly, or none.
        """
        for rows in alike(self.evidence):
            yield from rows.split(most)

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
        no_classes = UserError("this network knows no classes, and there is no posterior of them")
        if self._n_classes() < 2:  # or all would be drawn first
            raise no_classes
        with _asking():
            found = posterior(self.network, self.evidence, n=n, seed=seed, rows=self.kept)
        if found.probs.shape[-1] < 2:
            raise no_classes
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

    def conditional(self, *columns: str, n: int = 4096, seed: int = 0) -> ColumnsGiven:
        """Return the distribution of numeric columns, which must be unknown in all rows.

        Raises:
            UserError: If there is no such column, it is known, or it is categorical; or as in
                `marginal`.
        """
        places = {each.name: (each, place) for each, place in self._places()}
        query = []
        for name in columns:
            if name not in places:
                raise UserError(f"there is no column {name!r}; {nearest(name, list(places))}")
            column, place = places[name]
            if column.categories:
                raise UserError(
                    f"column {name!r} is categorical, and a conditional is of numbers; draw from "
                    "it by sample"
                )
            if (known := self.evidence.known[:, place]).any():
                row = int(known.nonzero()[0])
                raise UserError(f"column {name!r} is known in row {row}; leave its cell empty")
            query.append(place)
        one_or_all = query[0] if len(query) == 1 else query
        with _asking():
            of = conditional(self._density(), one_or_all, self.evidence, n=n, seed=seed)
        mean, std = (
            torch.tensor(values or default, dtype=torch.float64)[one_or_all].to(of.mean.device)
            for values, default in (
                (self.spec.mean, [0.0] * self.spec.n_features),
                (self.spec.std, [1.0] * self.spec.n_features),
            )
        )
        return ColumnsGiven(of, mean, std)

    def _density(self) -> Any:
        if not self.network.normalized:
            raise UserError(
                "this network has no density of its inputs: it answers posteriors only; train one "
                "by task=generative"
            )
        self.normalize()
        return self.network

    def _log_units(self, known: Tensor) -> Tensor:
        """Return by how much log-densities of these features (m, N) are too large: (m,)."""
        return -torch.from_numpy(self.spec.log_jacobians(known.cpu().numpy())).to(known.device)

    def _names(self, labels: Tensor) -> np.ndarray | None:
        if self._n_classes() < 2:
            return None
        return np.array(self.spec.class_names)[labels.cpu().numpy()]

    def _n_classes(self) -> int:
        return getattr(self.network, "n_classes", self.spec.n_classes)

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
