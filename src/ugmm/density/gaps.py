"""Rows with gaps under Gaussians, each row with a mask of its own: densities, draws, a fit.

`ugmm.density.conditional` conditions on one mask that many rows share. Here all rows are taken at
once, in matrices of the whole size in which what a row does not know is the identity: quicker
where nearly every row has another mask, as the rows of a table with random gaps have.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ugmm.density.gaussian import Gaussian, GaussianMixture
from ugmm.ranks import draw_rows

__all__ = ["Completed", "GaussianSight", "complete", "fill_gaps"]

_NUMBERS = 2**22  # of matrices that are held at once
_MOST_FEATURES = 128  # whose covariances are fitted: the work grows with their cube
_STEPS = 25  # of EM, at most
_SETTLED = 1e-3  # the largest change of a covariance after which EM ends
_LEAST_VARIANCE = 1e-4  # features are standardised


class GaussianSight:
    r"""How a Gaussian sees rows of which some values A are known and others B are not.

    With the gain :math:`G = S_{\cdot A} S_{AA}^{-1}`, a draw u of the whole Gaussian becomes one
    given what is known by :math:`u + G (x_A - u_A)`.

    Arguments:
        gaussian: N(m, S).
        x: Rows, (n, D), NaN where a value is not known.

    Attributes:
        known: (n, D).
        log_known: Log-densities of what is known, (n,), float64; 0 where nothing is.
    """

    def __init__(self, gaussian: Gaussian, x: Tensor) -> None:
        self._gaussian, self._x = gaussian, x.double()
        self.known = ~x.isnan()
        tril = gaussian.tril.double()
        self._covariance = tril @ tril.T
        both = self.known.unsqueeze(-1) & self.known.unsqueeze(-2)
        eye = torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        factor = torch.linalg.cholesky(torch.where(both, self._covariance, eye))
        centred = self._x.sub(gaussian.mean.double()).where(self.known, 0)
        white = torch.linalg.solve_triangular(factor, centred.unsqueeze(-1), upper=False)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * math.log(2 * math.pi) * self.known.sum(-1)
        self.log_known = -0.5 * white.square().sum((-2, -1)) - log_det - constant
        self._gain = torch.cholesky_solve(self._of_known(), factor).mT

    def _of_known(self) -> Tensor:
        """Return, for each row, the covariance with the lines of what is known: (n, D, D)."""
        return self._covariance.where(self.known.unsqueeze(-1), 0)

    def complete(self, normal: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """Turn standard normal numbers (m, k, D) into draws, given some m of the rows."""
        drawn = self._gaussian.colour(normal)
        known, x = self.known[rows].unsqueeze(1), self._x[rows].unsqueeze(1)
        off = (x - drawn).where(known, 0)
        return x.where(known, drawn + off @ self._gain[rows].mT)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return the rows' means given what is known, (n, D), and the sum of their covariances."""
        mean = self._gaussian.mean.double()
        off = (self._x - mean).where(self.known, 0).unsqueeze(-1)
        spared = (self._gain @ self._of_known()).sum(0)
        return (self._gain @ off).squeeze(-1) + mean, len(off) * self._covariance - spared


class Completed(NamedTuple):
    """Rows whose gaps are drawn, k times each, from a defensive conditional proposal.

    Attributes:
        x: (n, k, D), float64.
        log_ratio: log b - log q of what was drawn, given what is known: at most log 2, (n, k).
        log_base: log b of what is known, (n,).
        log_proposal: log q of what is known, (n,).
    """

    x: Tensor
    log_ratio: Tensor
    log_base: Tensor
    log_proposal: Tensor


@torch.no_grad()
def complete(
    proposal: GaussianMixture,
    x: Tensor,
    k: int,
    y: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Completed:
    """Draw what is missing, half from the base and half from the classes given what is known.

    The proposal is that of `ugmm.density.conditional.DefensiveConditional`.

    Args:
        proposal: The base b and the classes' Gaussians, which together are q.
        x: Rows, (n, D), NaN where a value is missing.
        k: How often; an even number gives the base exactly its half.
        y: Labels (n,), by which to draw from the row's own class; None: from all, as they fit.
        generator: On the CPU; by default, torch's own.
    """
    parts = cast("list[Gaussian]", list(proposal.parts))
    sights = [GaussianSight(part, x) for part in parts]
    log_known = torch.stack([sight.log_known for sight in sights], 1)  # (n, 1 + C)
    classes = log_known[:, 1:]
    if y is not None:
        others = torch.arange(classes.shape[1], device=y.device) != y.unsqueeze(1)
        classes = classes.masked_fill(others, -math.inf)
    shares = 0.5 * torch.cat([torch.ones_like(classes[:, :1]), classes.softmax(1)], 1)
    n, d = x.shape
    within = _drawn(torch.rand, (n, 1), generator).to(x.device)
    choice = (torch.arange(k, device=x.device) + within) / k  # evenly spread
    part = (choice.unsqueeze(-1) >= shares.cumsum(1)[:, None, :-1]).sum(-1)
    normal = _drawn(torch.randn, (n, k, d), generator).to(x.device)
    drawn = sights[0].complete(normal)
    for index, sight in enumerate(sights[1:], 1):
        of_part = part == index
        rows = of_part.any(1).nonzero().squeeze(1)
        own = sight.complete(normal[rows], rows)
        drawn[rows] = own.where(of_part[rows].unsqueeze(-1), drawn[rows])
    log_q = torch.full_like(choice, -math.inf)
    log_b = parts[0].log_prob(drawn) - log_known[:, :1]
    for index, gaussian in enumerate(parts):
        rows = (shares[:, index] > 0).nonzero().squeeze(1)
        log_part = gaussian.log_prob(drawn[rows]) - log_known[rows, index, None]
        term = log_part + shares[rows, index, None].log()
        log_q[rows] = torch.logaddexp(log_q[rows], term)
    log_proposal = (log_known + proposal.shares.double().log()).logsumexp(1)
    return Completed(drawn, log_b - log_q, log_known[:, 0], log_proposal)


def _drawn(
    draw: Callable[..., Tensor], shape: tuple[int, ...], generator: torch.Generator | None
) -> Tensor:
    """Draw numbers for rows: of a batch that processes share, unless by a generator of its own."""
    if generator is None:
        return draw_rows(lambda size: draw(size, dtype=torch.float64), shape)
    return draw(shape, generator=generator, dtype=torch.float64)


@torch.no_grad()
def fill_gaps(x: Tensor, y: Tensor, seed: int = 0) -> Tensor:
    r"""Return rows whose gaps are drawn from Gaussians that share a covariance, fitted by EM.

    Rows are :math:`m_y + e` with :math:`e \sim \mathcal N(0, S)`; in each step
    :math:`S` is pulled to its diagonal with the weight of D rows. What is fitted to the rows that
    are returned has the covariances of the data, as far as these tell them; filled in with means
    they would have too little of it. Of more than 128 features, each is drawn by itself.

    Args:
        x: (n, D), standardised, NaN where a value is missing. Without such, it is returned.
        y: Labels, (n,).
        seed: Of the draws.
    """
    missing = x.isnan()
    if not missing.any():
        return x
    classes, own = y.unique(return_inverse=True)
    wide = x.double()
    overall = wide.nanmean(0).nan_to_num(0)
    means = torch.stack([wide[own == c].nanmean(0) for c in range(len(classes))])
    means = means.where(~means.isnan(), overall)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    variances = (wide - means[own]).square().nanmean(0).nan_to_num(0) + _LEAST_VARIANCE
    if x.shape[1] > _MOST_FEATURES:
        return x.where(~missing, (means[own] + normal * variances.sqrt()).to(x.dtype))
    within, covariance = Gaussian(x.shape[1]).to(x.device), variances.diag()
    for _ in range(_STEPS):
        within.tril.copy_(torch.linalg.cholesky(covariance))
        found, spread = [], torch.zeros_like(covariance)
        for rows in _parts(len(x), x.shape[1]):
            mean, free = GaussianSight(within, (wide - means[own])[rows]).moments()
            found.append(mean)
            spread += free
        off = torch.cat(found)
        shift = torch.stack([off[own == c].mean(0) for c in range(len(classes))])
        means += shift
        off -= shift[own]
        before, covariance = covariance, _shrunk((off.T @ off + spread) / len(x), len(x))
        if (covariance - before).abs().max() < _SETTLED:
            break
    within.tril.copy_(torch.linalg.cholesky(covariance))
    filled = means[own]
    for rows in _parts(len(x), x.shape[1]):
        sight = GaussianSight(within, (wide - means[own])[rows])
        filled[rows] += sight.complete(normal[rows].unsqueeze(1)).squeeze(1)
    return x.where(~missing, filled.to(x.dtype))


def _shrunk(covariance: Tensor, n: int) -> Tensor:
    """Return a covariance, as if D more rows had shown none between the features."""
    d = len(covariance)
    diagonal = covariance.diagonal().diag()
    eye = torch.eye(d, dtype=covariance.dtype, device=covariance.device)
    return (n * covariance + d * diagonal) / (n + d) + _LEAST_VARIANCE * eye


def _parts(n: int, d: int) -> Iterator[slice]:
    size = max(1, _NUMBERS // d**2)
    for start in range(0, n, size):
        yield slice(start, start + size)
