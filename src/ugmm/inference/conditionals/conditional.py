"""The conditional of some features, given what is known of the others."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ugmm.inference.asking import check_density, check_evidence, generator_of, refuse_levels
from ugmm.inference.conditionals.clouds import Cloud
from ugmm.inference.conditionals.lines import feature_given
from ugmm.inference.conditionals.rows import RowConditional
from ugmm.nn.checks import check_binary, check_draws, check_positive
from ugmm.nn.evidence import Evidence, Queryable

__all__ = ["Conditional", "conditional"]


class Conditional:
    """Conditionals of one or several features, one for each row of evidence.

    It answers as the distributions of torch do: with R rows the batch is of shape (R,), an event
    is a number where one feature was asked for by its number, and of shape (m,) where a list of m
    was. All answers are float64.

    Attributes:
        batch_shape: (R,).
        event_shape: () or (m,).
        mean: `(R, *event)`.
        variance: `(R, *event)`.
        error: The standard error of `mean`, `(R, *event)`.
        variance_error: The standard error of `variance`, `(R, *event)`.
        effective: The effective share of the draws behind the answers, (R,); 1 where there are
            none.
        is_exact: Whether they are exact, up to rounding and quadrature.
    """

    def __init__(
        self, rows: Sequence[RowConditional], event_shape: torch.Size, binary: bool, seed: int
    ) -> None:
        self._rows, self._binary = rows, binary
        self._generator = generator_of(seed, len(rows))
        self.batch_shape, self.event_shape = torch.Size([len(rows)]), event_shape
        self.mean = self._stack([row.mean for row in rows])
        self.error = self._stack([row.mean_error for row in rows])
        self.variance = self._stack([row.variance for row in rows])
        self.variance_error = self._stack([row.variance_error for row in rows])
        self.effective = torch.tensor([row.effective for row in rows], dtype=torch.float64)
        self.is_exact = all(row.is_exact for row in rows)

    @property
    def stddev(self) -> Tensor:
        """The standard deviation, `(R, *event)`."""
        return self.variance.sqrt()

    @torch.no_grad()
    def log_prob(self, values: Tensor) -> Tensor:
        """Return log p(values | evidence) in nats: `(..., R, *event)` to `(..., R)`."""
        return self._log_prob(values)[0]

    @torch.no_grad()
    def log_prob_error(self, values: Tensor) -> Tensor:
        """Return the standard errors of `log_prob`: `(..., R, *event)` to `(..., R)`."""
        return self._log_prob(values)[1]

    @torch.no_grad()
    def quantile(self, mass: float | Tensor) -> Tensor:
        """Return values that have so much mass below them, each feature's for itself.

        Args:
            mass: From 0 to 1, a number or any shape.

        Returns:
            `(*mass, R, *event)`.

        Raises:
            ValueError: If a mass is not from 0 to 1.
        """
        mass = torch.as_tensor(mass, dtype=torch.float64)
        if not ((mass >= 0) & (mass <= 1)).all():
            raise ValueError("a quantile's mass must be from 0 to 1")
        flat = mass.flatten().to(self.mean.device)
        found = torch.stack([row.quantile(flat) for row in self._rows], 1)  # (k, R, m)
        return found.reshape(*mass.shape, *self.batch_shape, *self.event_shape)

    @torch.no_grad()
    def sample(self, k: int = 1) -> Tensor:
        """Draw `(k, R, *event)`; each call goes on where the one before ended."""
        check_draws(k)
        if k == 0:
            return self.mean.new_empty(0, *self.mean.shape)
        drawn = torch.stack([row.sample(k, self._generator) for row in self._rows], 1)
        return drawn.reshape(k, *self.batch_shape, *self.event_shape)

    def _log_prob(self, values: Tensor) -> tuple[Tensor, Tensor]:
        values = values.to(self.mean)
        event = values.dim() - len(self.event_shape)
        if values.shape[event:] != self.event_shape:
            raise ValueError(
                f"values must end in {tuple(self.event_shape)}, got {tuple(values.shape)}"
            )
        if not values.isfinite().all():
            raise ValueError("a value is not finite")
        if self._binary:
            check_binary(values)
        shape = torch.broadcast_shapes(values.shape[:event], self.batch_shape)
        flat = values.expand(*shape, *self.event_shape).reshape(-1, shape[-1], self._width)
        if len(self._rows) == 1:
            found = [self._rows[0].log_prob(flat.flatten(0, 1))]
        else:
            found = [row.log_prob(flat[:, i]) for i, row in enumerate(self._rows)]
        logs, errors = (torch.stack(part, -1).reshape(shape) for part in zip(*found, strict=True))
        return logs, errors

    @property
    def _width(self) -> int:
        return self.event_shape.numel()

    def _stack(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts).reshape(*self.batch_shape, *self.event_shape)


@torch.no_grad()
def conditional(
    density: Queryable,
    query: int | Sequence[int],
    evidence: Evidence,
    *,
    n: int = 4096,
    seed: int = 0,
) -> Conditional:
    """Return p(query | evidence), all other features integrated out.

    One feature: its density is normalised by quadrature, or by adding up two values, with what
    else is not known integrated out exactly where the density can, and averaged over draws where
    it cannot. Several: their density is a ratio of marginals, in which a partition function
    cancels; their moments and quantiles are those of weighted draws.

    Args:
        density: Of D features.
        query: The number of a feature, or several features' numbers.
        evidence: Rows in model units, in none of which these features are known.
        n: Draws for each row, where the answer is not exact.
        seed: Seed of the draws. A row's answer depends on it and that row alone.

    Raises:
        ValueError: If the density cannot be queried, the evidence is not of its kind, there is no
            such feature, or it is known already.
    """
    check_positive(n=n)
    asked = check_density(density)
    refuse_levels(asked, "a conditional")
    evidence = check_evidence(asked, evidence)
    features = _check_query(query, evidence)
    rows: list[RowConditional] = []
    with asked.prepared():
        for i in range(len(evidence)):
            row, generator = evidence[i : i + 1], generator_of(seed)
            try:
                if len(features) == 1:
                    rows.append(feature_given(asked, row, int(features[0]), n, generator))
                else:
                    rows.append(Cloud(asked, row, features, n, seed, generator))
            except ValueError as refused:
                raise ValueError(f"row {i}: {refused}") from refused
    event = torch.Size([] if isinstance(query, int) else [len(features)])
    return Conditional(rows, event, asked.binary, seed)


def _check_query(query: int | Sequence[int], evidence: Evidence) -> Tensor:
    """Return the features' numbers, (m,)."""
    numbers = [query] if isinstance(query, int) else list(query)
    width = evidence.x.shape[1]
    if not len(evidence) or not numbers or len(set(numbers)) < len(numbers):
        raise ValueError("a conditional is of one or several features, given at least one row")
    for number in numbers:
        if not 0 <= number < width:
            raise ValueError(f"there is no feature {number}: they are 0 to {width - 1}")
        if (known := evidence.known[:, number]).any():
            row = int(known.nonzero()[0])
            raise ValueError(f"row {row}: feature {number} is known, and asked for")
    return torch.tensor(numbers, device=evidence.x.device)
