"""Markov chains for one row of evidence: independence Metropolis-Hastings, MALA, Gibbs on a grid.

All of them start from draws that were resampled by their weights.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ugmm.inference.asking import Asked
from ugmm.inference.weights import RowSamples, Worth, draws_of, effective, resample
from ugmm.nn.evidence import Draws, Evidence

__all__ = ["CHAINS", "gibbs", "mala", "metropolis"]

CHAINS = 16
_DRAWS = 8192  # that the chains start from, or take their proposals from, at a time
_MALA_WARM, _MALA_THIN, _MALA_ACCEPTS = 200, 5, 0.574
_GIBBS_WARM, _GRID = 20, 64
_LOWEST = -1e300
_METROPOLIS_MOST = 64  # steps for each draw that is kept


class _Target:
    """log p of whole rows that hold to one row of evidence, up to a constant."""

    def __init__(self, density: Asked, row: Evidence, generator: torch.Generator) -> None:
        self.density, self.row, self.generator = density, row, generator
        self.free = (~row.known[0]).nonzero().squeeze(1)
        self.draws = draws_of(density, row, _DRAWS, generator)
        self.share = effective(self.draws) / _DRAWS
        self.largest = float(self.draws.log_weight[0].max().exp())

    def start(self) -> Tensor:
        """Return the states that the chains start from, (CHAINS, D)."""
        chosen = resample(self.draws.log_weight[0], CHAINS, self.generator)
        return self.draws.x[0, chosen].to(self.row.x.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """Map rows (m, D) to (m,), float64."""
        return self._of_label(self.density.class_scores(x))

    def along(self, x: Tensor, feature: int, grid: Tensor) -> Tensor:
        """Return `log_prob` of rows (m, D) with a feature in turn at each of G places, (m, G)."""
        wanted = torch.tensor([feature], device=x.device)
        scores = self.density.coordinate_scores(x, grid.to(x.dtype), wanted)
        return self._of_label(scores.squeeze(1))

    def _of_label(self, scores: Tensor) -> Tensor:
        scores, label = _floored(scores), int(self.row.y[0])
        return scores.logsumexp(-1) if label < 0 else scores[..., label]

    def gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `log_prob` of rows (m, D), and its gradient by the free features (m, free)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = self.log_prob(x)
            (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient[:, self.free].double().nan_to_num(0.0)

    def labels(self, x: Tensor) -> Tensor:
        """Draw the labels of rows (m, D), or repeat the one that is known: (m,)."""
        if (label := int(self.row.y[0])) >= 0:
            return torch.full((len(x),), label, device=x.device)
        parts = [_floored(self.density.class_scores(part)).softmax(-1) for part in x.split(_DRAWS)]
        drawn = torch.multinomial(torch.cat(parts).cpu(), 1, generator=self.generator)
        return drawn.squeeze(1).to(x.device)

    def covariance(self) -> Tensor:
        """Return that of the free features: by the draws' weights, as far as these can tell."""
        x, weight = self.draws.x[0][:, self.free].double(), self.draws.log_weight[0].exp()
        trust = self.share * _DRAWS / (self.share * _DRAWS + 10 * len(self.free))
        whole = torch.zeros(len(self.free), len(self.free), dtype=torch.float64, device=x.device)
        for w, part in ((weight, trust), (torch.full_like(weight, 1 / _DRAWS), 1 - trust)):
            centred = x - w @ x
            whole += part * centred.T @ (w.unsqueeze(1) * centred)
        least = 1e-12 + 1e-8 * whole.diagonal().mean()  # keeps it definite, far out too
        return whole + least * torch.eye(len(whole), dtype=torch.float64, device=x.device)

    def uniform(self, *shape: int) -> Tensor:
        numbers = torch.rand(*shape, generator=self.generator, dtype=torch.float64)
        return numbers.to(self.row.x.device)

    def normal(self, *shape: int) -> Tensor:
        numbers = torch.randn(*shape, generator=self.generator, dtype=torch.float64)
        return numbers.to(self.row.x.device)

    def collect(
        self,
        method: str,
        states: Iterator[tuple[Tensor, float]],
        n: int,
        report: Callable[[int], None],
    ) -> RowSamples:
        """Keep n draws of states (CHAINS, D) that come with the share of accepted proposals.

        Draw t of chain c becomes number t * CHAINS + c.
        """
        x, accepted = self.row.x.new_empty(n, self.row.x.shape[1]), []
        for first in range(0, n, CHAINS):
            state, rate = next(states)
            x[first : first + CHAINS] = state[: n - first]
            accepted.append(rate)
            report(min(CHAINS, n - first))
        acceptance = sum(accepted) / len(accepted)
        worth = Worth(method, _worth(x), self.share, self.largest, acceptance)
        return RowSamples(x, self.labels(x), worth)


def _floored(scores: Tensor) -> Tensor:
    # Far from all that a density knows of, a score may be below what its type can hold.
    return scores.double().nan_to_num(_LOWEST).clamp(min=_LOWEST)


def _worth(x: Tensor) -> float:
    """Return about how many independent draws those of chains (n, D) are worth.

    A chain's mean varies from chain to chain as a mean of so many independent draws does. That of
    16 chains is a rough measure, taken of the worst feature; but it sees chains that stay apart.
    """
    steps = len(x) // CHAINS
    if steps < 2:
        return len(x)
    chains = x[: steps * CHAINS].double().reshape(steps, CHAINS, -1)
    whole, between = chains.flatten(0, 1).var(0), chains.mean(0).var(0)
    each = CHAINS * whole[whole > 0] / between[whole > 0]
    return float(each.min().clamp(max=len(x))) if len(each) else len(x)


def metropolis(
    density: Asked,
    row: Evidence,
    n: int,
    generator: torch.Generator,
    report: Callable[[int], None],
) -> RowSamples:
    """Draw n rows by independence Metropolis-Hastings from the density's own proposal."""
    target = _Target(density, row, generator)
    thin = min(_METROPOLIS_MOST, math.ceil(4 / target.share))
    return target.collect("metropolis", _metropolis_states(target, thin), n, report)


def _metropolis_states(target: _Target, thin: int) -> Iterator[tuple[Tensor, float]]:
    proposals = _proposals(target)
    chosen = resample(target.draws.log_weight[0], CHAINS, target.generator)
    state, weight = target.draws.x[0, chosen], _log_weight(target.draws)[chosen]
    while True:
        accepted = 0.0
        for _ in range(thin):
            new, new_weight = next(proposals)
            taken = target.uniform(CHAINS).log() < new_weight - weight
            state = torch.where(taken.unsqueeze(1), new, state)
            weight = torch.where(taken, new_weight, weight)
            accepted += float(taken.double().mean())
        yield state, accepted / thin


def _proposals(target: _Target) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the density's draws, (CHAINS, D), and their weights, (CHAINS,)."""
    while True:
        draws = draws_of(target.density, target.row, _DRAWS, target.generator)
        weight = _log_weight(draws)
        # They may come sorted by a proposal's parts; shuffled, any part may meet any chain.
        for chosen in torch.randperm(_DRAWS, generator=target.generator).split(CHAINS):
            yield draws.x[0, chosen], weight[chosen]


def _log_weight(draws: Draws) -> Tensor:
    """Return log p(x) / q(x), up to a constant that is the same for all calls: (k,)."""
    return draws.log_weight[0] + draws.marginal.log_prob[0]


def mala(
    density: Asked,
    row: Evidence,
    n: int,
    generator: torch.Generator,
    report: Callable[[int], None],
) -> RowSamples:
    """Draw n rows by the Metropolis-adjusted Langevin algorithm, preconditioned by the draws.

    Reference:
        G. O. Roberts and R. L. Tweedie, *Exponential convergence of Langevin distributions and
        their discrete approximations*, Bernoulli 2 (1996).
    """
    target = _Target(density, row, generator)
    return target.collect("mala", _mala_states(target), n, report)


def _mala_states(target: _Target) -> Iterator[tuple[Tensor, float]]:
    """Yield every so many steps' states, once a step is found that is accepted often enough."""
    state, step, count = target.start(), 0.5, 0
    tril = torch.linalg.cholesky(target.covariance())
    value, gradient = target.gradient(state)
    rates: list[float] = []

    def mean(x: Tensor, gradient: Tensor) -> Tensor:
        return x[:, target.free].double() + 0.5 * step**2 * gradient @ tril @ tril.T

    def log_move(x: Tensor, mean: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(tril, (x[:, target.free].double() - mean).T, upper=False)
        return -0.5 * (z / step).square().sum(0)

    while True:
        towards = mean(state, gradient)
        new = state.clone()
        moved = towards + step * target.normal(*towards.shape) @ tril.T
        new[:, target.free] = moved.to(new.dtype)
        new_value, new_gradient = target.gradient(new)
        ratio = new_value - value + log_move(state, mean(new, new_gradient))
        ratio = ratio - log_move(new, towards)
        taken = target.uniform(CHAINS).log() < ratio
        state = torch.where(taken.unsqueeze(1), new, state)
        value = torch.where(taken, new_value, value)
        gradient = torch.where(taken.unsqueeze(1), new_gradient, gradient)
        count += 1
        if count <= _MALA_WARM:
            accepted = float(ratio.nan_to_num(-math.inf).clamp(max=0).exp().mean())
            step *= math.exp(0.1 * (accepted - _MALA_ACCEPTS))
            continue
        rates.append(float(taken.double().mean()))
        if count % _MALA_THIN == 0:
            yield state, sum(rates) / len(rates)
            rates.clear()


def gibbs(
    density: Asked,
    row: Evidence,
    n: int,
    generator: torch.Generator,
    report: Callable[[int], None],
) -> RowSamples:
    """Draw n rows by drawing one feature after the other, given all others.

    A feature that is 0 or 1 is drawn exactly, a continuous one from the density's linear
    interpolation on a grid over all that the density's own draws reach.
    """
    target = _Target(density, row, generator)
    states = _gibbs_states(target)
    for _ in range(_GIBBS_WARM):
        next(states)
    return target.collect("gibbs", states, n, report)


def _gibbs_states(target: _Target) -> Iterator[tuple[Tensor, float]]:
    state = target.start()
    drawn = target.draws.x[0].double()
    pad = 0.5 * drawn.std(0)
    low, high = drawn.amin(0) - pad, drawn.amax(0) + pad
    binary = target.density.binary
    unit = torch.linspace(0, 1, 2 if binary else _GRID, dtype=torch.float64, device=drawn.device)
    while True:
        for feature in target.free.tolist():
            grid = unit if binary else low[feature] + (high[feature] - low[feature]) * unit
            log_p = target.along(state, feature, grid)
            p = (log_p - log_p.amax(1, keepdim=True)).exp()
            if binary:
                value = target.uniform(CHAINS) * p.sum(1) > p[:, 0]
            else:
                value = _interpolated(grid, p, target.uniform(CHAINS))
            state[:, feature] = value.to(state.dtype)
        yield state.clone(), 1.0


def _interpolated(grid: Tensor, p: Tensor, u: Tensor) -> Tensor:
    """Return where the linear interpolation of p (m, G) on a grid has u (m,) of its mass below."""
    cells = 0.5 * (p[:, 1:] + p[:, :-1])
    below = cells.cumsum(1)
    wanted = (u * below[:, -1]).unsqueeze(1)
    cell = torch.searchsorted(below, wanted).clamp(max=cells.shape[1] - 1)
    inside = (wanted - below.gather(1, cell) + cells.gather(1, cell)).clamp(min=0)
    left, right = p.gather(1, cell), p.gather(1, cell + 1)
    # left t + (right - left) t^2 / 2 = inside, in the form that does not cancel
    root = (left.square() + 2 * (right - left) * inside).clamp(min=0).sqrt()
    t = (2 * inside / (left + root).clamp(min=1e-300)).clamp(0, 1)
    return (grid[cell] + t * (grid[1] - grid[0])).squeeze(1)
