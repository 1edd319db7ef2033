"""The conditional of one feature: exact, or an average over lines.

Where the density has no exact answer, what else is not known is drawn, and along each draw's line
the density is normalised (Rao and Blackwell):

    p(q | x_A) = sum_i w_i p(q | x_A, rest_i)

Where a network of random order answers, its orders are the lines, and their spread is the error.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.inference.asking import Asked, generator_of
from ugmm.inference.conditionals.rows import RowConditional
from ugmm.inference.conditionals.tables import LogDensity, tabulate
from ugmm.inference.weights import TOO_FAR, draws_of, effective, resample
from ugmm.nn.evidence import Draws, Evidence, InOrders

__all__ = ["exactly_given", "feature_given"]

_DRAWS_A_LINE = 4  # a line costs some hundred points: few draws are wasted on choosing it
_PROBE = 64  # draws by which a density shows whether it answers exactly
_NUMBERS = 2**21  # features of points that are computed together
_BLURRED = 0.5  # nats of rounding errors, beside which a line's shape is none
_LOWEST = -1e300  # stands for a score below what the network's type can hold


class _Lines(NamedTuple):
    log_density: LogDensity
    shares: Tensor  # (lines,), float64; they sum to 1
    noise: float  # the square of an average's error, over the variance among the lines
    effective: float  # share of the draws behind them
    rounding: float = 0.0  # relative, of the log-densities
    votes: Tensor | None = None  # by which the variance weighs them, if not by their shares

    def average(self, each: Tensor) -> tuple[Tensor, Tensor]:
        """Return the average of the lines' values, (lines, ...), and its standard error: (...)."""
        mean = torch.tensordot(self.shares, each, 1)
        votes = self.shares if self.votes is None else self.votes
        variance = torch.tensordot(votes, (each - mean).square(), 1)
        return mean, (self.noise * variance).sqrt()


def feature_given(
    density: Asked, row: Evidence, feature: int, n: int, generator: torch.Generator
) -> RowConditional:
    """Return the conditional of one feature, by at most n draws, given one row of evidence."""
    lines = _without_draws(density, row, feature)
    if lines is not None and density.binary:
        return _Coin(lines)
    draws = draws_of(density, row, n, generator)
    if lines is None:
        lines = _through_draws(density, row, feature, draws, generator)
    return _Coin(lines) if density.binary else _Line(lines, draws, feature)


def exactly_given(
    density: Asked, row: Evidence, feature: int, n: int, generator: torch.Generator
) -> RowConditional | None:
    """Return the conditional of one feature if that is exact, else nothing."""
    lines = _without_draws(density, row, feature)
    if lines is None or lines.noise > 0:
        return None
    return feature_given(density, row, feature, n, generator)


def _without_draws(density: Asked, row: Evidence, feature: int) -> _Lines | None:
    one = torch.ones(1, dtype=torch.float64, device=row.x.device)
    if int((~row.known).sum()) == 1:
        along = _scores_along(density, row.x, row, feature)
        return _Lines(along, one, 0.0, 1.0, torch.finfo(row.x.dtype).eps)
    if isinstance(density, InOrders) and density.orders is not None:
        return _orders_along(density, row, feature)
    known = row.with_features(torch.tensor([feature]), torch.zeros(1))
    if density.marginal(known, _PROBE, generator_of(0)).is_exact:
        return _Lines(_marginals_along(density, row, feature), one, 0.0, 1.0)
    return None


def _through_draws(
    density: Asked, row: Evidence, feature: int, draws: Draws, generator: torch.Generator
) -> _Lines:
    ess = effective(draws)
    n = draws.x.shape[1]
    k = max(1, n // _DRAWS_A_LINE)
    chosen, times = resample(draws.log_weight[0], k, generator).unique(return_counts=True)
    x = draws.x[0, chosen].to(row.x)
    along = _scores_along(density, x, row, feature)
    rounding = torch.finfo(x.dtype).eps
    return _Lines(along, times.double() / k, 1 / k + 1 / ess, ess / n, rounding)


def _scores_along(density: Asked, x: Tensor, row: Evidence, feature: int) -> LogDensity:
    """Return log p of rows (lines, D) whose one feature takes other values."""

    @torch.no_grad()
    def log_density(values: Tensor) -> Tensor:
        found = []
        for part in values.to(x).split(max(1, _NUMBERS // x.numel())):
            whole = x.unsqueeze(1).repeat(1, len(part), 1)
            whole[:, :, feature] = part
            scores = density.class_scores(whole.flatten(0, 1)).double().clamp(min=_LOWEST)
            scores = scores if row.y[0] < 0 else scores[:, row.y]
            found.append(scores.logsumexp(-1).view(len(x), -1))
        return torch.cat(found, 1)

    return log_density


def _marginals_along(density: Asked, row: Evidence, feature: int) -> LogDensity:
    """Return log p of a row's evidence and one feature, whose other unknowns integrate out."""

    @torch.no_grad()
    def log_density(values: Tensor) -> Tensor:
        found = []
        for part in values.to(row.x).split(max(1, _NUMBERS // row.x.numel())):
            rows = row[torch.zeros_like(part, dtype=torch.long)]
            rows = rows.with_features(torch.tensor([feature]), part.unsqueeze(1))
            found.append(density.marginal(rows, 2, generator_of(0)).log_prob)
        return torch.cat(found).unsqueeze(0)

    return log_density


def _orders_along(density: InOrders, row: Evidence, feature: int) -> _Lines:
    """Return what each order says of one feature, behind the evidence and before all else."""
    features = torch.tensor([feature])

    def log_density(values: Tensor) -> Tensor:
        return density.by_orders(row, features, values.unsqueeze(1))[1]

    log_share, _ = density.by_orders(row, features, row.x[:, features])
    # Of many features one order may take all of the share: how far the others are is still said.
    votes = torch.full_like(log_share, 1 / len(log_share))
    return _Lines(log_density, log_share.softmax(0), 1.0, 1.0, votes=votes)


class _Line(RowConditional):
    """The conditional of a continuous feature."""

    def __init__(self, lines: _Lines, draws: Draws, feature: int) -> None:
        self._lines = lines
        values = draws.x[0, :, feature].double().contiguous()
        weights = draws.log_weight[0].exp()
        # Looked at first: panels of rounding errors would be halved for as long as may be.
        blur = float(lines.log_density(values.median().reshape(1)).abs().max()) * lines.rounding
        if blur > _BLURRED:
            raise ValueError(TOO_FAR)
        tolerance = max(1e-9 if draws.x.dtype == torch.float64 else 1e-6, 0.1 * blur)
        table = tabulate(lines.log_density, lines.shares, values, weights, tolerance)
        if float(table.log_masses.abs().max()) * lines.rounding > _BLURRED:
            raise ValueError(TOO_FAR)
        self._table = table
        mean, mean_error = lines.average(table.means)
        variance, variance_error = lines.average(table.variances + (table.means - mean).square())
        self.mean, self.mean_error = mean.reshape(1), mean_error.reshape(1)
        self.variance, self.variance_error = variance.reshape(1), variance_error.reshape(1)
        self.effective, self.is_exact = lines.effective, lines.noise == 0

    def log_prob(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowConditional.log_prob`."""
        each = self._lines.log_density(values[:, 0]) - self._table.log_masses.unsqueeze(1)
        return _log_average(self._lines, each)

    def quantile(self, mass: Tensor) -> Tensor:
        """See `RowConditional.quantile`."""
        return self._table.quantile(mass).unsqueeze(1)

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        """See `RowConditional.sample`."""
        mass = torch.rand(k, generator=generator, dtype=torch.float64)
        return self.quantile(mass.to(self.mean.device))


class _Coin(RowConditional):
    """The conditional of a feature that is 0 or 1."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        sides = torch.tensor([0.0, 1.0], dtype=torch.float64, device=lines.shares.device)
        self._logs = lines.log_density(sides).log_softmax(1)  # (lines, 2)
        one, error = lines.average(self._logs[:, 1].exp())
        self.mean, self.mean_error = one.reshape(1), error.reshape(1)
        self.variance = self.mean * (1 - self.mean)
        self.variance_error = (1 - 2 * self.mean).abs() * self.mean_error
        self.effective, self.is_exact = lines.effective, lines.noise == 0

    def log_prob(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowConditional.log_prob`."""
        return _log_average(self._lines, self._logs[:, values[:, 0].long()])

    def quantile(self, mass: Tensor) -> Tensor:
        """See `RowConditional.quantile`."""
        return (mass > 1 - self.mean).double().unsqueeze(1)

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        """See `RowConditional.sample`."""
        mass = torch.rand(k, generator=generator, dtype=torch.float64)
        return self.quantile(mass.to(self.mean.device))


def _log_average(lines: _Lines, logs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithm of the average of exp(logs) (lines, v), and its error: (v,) each."""
    most = logs.amax(0)
    mean, error = lines.average((logs - most).exp())
    if lines.votes is not None:  # in nats, as of a marginal: a vote may be any times the mean
        off = logs - (most + mean.log())
        return most + mean.log(), torch.tensordot(lines.votes, off.square(), 1).sqrt()
    return most + mean.log(), error / mean
